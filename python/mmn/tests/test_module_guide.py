"""The guide to modules in Python, executed: its files are written, its commands run, in their order."""

import os
import pathlib
import re
import subprocess
import sys

from .module_place import PROGRAM, ROOT, place

GUIDE = ROOT / "docs" / "guides" / "python-modules.md"


def test_the_guide_does_what_it_says(tmp_path: pathlib.Path) -> None:
    work, data, programs = tmp_path / "work", tmp_path / "data", tmp_path / "programs"
    for directory in (work, data, programs):
        directory.mkdir()
    (programs / "mmn").symlink_to(PROGRAM)
    python = pathlib.Path(sys.executable).parent
    environment = os.environ | {
        "MMN_DATA": str(data),
        "VIRTUAL_ENV": sys.prefix,
        "PATH": f"{programs}:{python}:{os.environ['PATH']}",
        "COLUMNS": "120",
    }
    ran = 0
    with place(data) as up:
        for language, text in re.findall(r"^```(python|sh)\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL):
            if language == "python":
                (work / text.split()[1]).write_text(text)
                continue
            for line in text.splitlines():
                done = subprocess.run(line, shell=True, cwd=work, env=environment, capture_output=True, text=True, timeout=120)
                assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
                ran += 1
                if added := re.match(r"mmn module add (\S+\.py)", line):
                    for kind in re.findall(r'module\.kind\("([^"]+)"', (work / added[1]).read_text()):
                        up.offered(kind)
    assert ran >= 10
