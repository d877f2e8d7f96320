"""Checks the rules, their tests and their runbooks, then lets a real Prometheus watch a live network.

Started by scripts/check-alerts.sh, which has started `mmn up` on a data directory of its own. Standard library alone.
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
DEPLOY = HERE.parent
RULES = DEPLOY / "mmn.rules.yml"
TESTS = sorted(HERE.glob("*.yml"))
RUNBOOKS = DEPLOY.parent.parent / "docs" / "runbooks"
RUNBOOK_LINES = 40
# How long something live may take to be seen.
PATIENCE_S = 20

passed: list[str] = []
failed: list[str] = []


def check(name: str, wrong: object = None) -> None:
    """Counts a check: it has passed when nothing is wrong."""
    (failed if wrong else passed).append(name)
    print(f"{'FAILED' if wrong else 'ok    '} {name}" + (f": {wrong}" if wrong else ""), flush=True)


def run(name: str, *command: object, stdin: str | None = None) -> None:
    done = subprocess.run([str(word) for word in command], input=stdin, text=True, capture_output=True, timeout=60)
    check(name, done.returncode and (done.stdout + done.stderr).strip())


def check_files(tools: pathlib.Path, work: pathlib.Path) -> list[str]:
    """What can be said without a network. Gives the names of the metrics that rules read."""
    promtool = tools / "promtool"
    run("promtool check rules", promtool, "check", "rules", RULES)
    # The configuration names files that every site has its own of.
    site = work / "site"
    site.mkdir()
    for name in ("mmn.token", "mmn-ca.pem"):
        (site / name).touch(0o600)
    for name in ("prometheus.yml", RULES.name):
        shutil.copy(DEPLOY / name, site)
    run("promtool check config", promtool, "check", "config", site / "prometheus.yml")
    run("promtool test rules", promtool, "test", "rules", *TESTS)

    rules = RULES.read_text()
    alerts = re.findall(r"^ *- alert: (\w+)$", rules, re.MULTILINE)
    tests = "".join(path.read_text() for path in TESTS)
    for alert in alerts:
        cases = re.findall(rf"""expr: '?ALERTS{{alertname="{alert}",.*?exp_samples:( \[\])?""", tests, re.DOTALL)
        cases += re.findall(rf"alertname: {alert}\b.*?exp_alerts:( \[\])?", tests, re.DOTALL)
        missing = [word for word, there in (("calm", " []" in cases), ("firing", "" in cases)) if not there]
        check(f"{alert} is tested", missing and f"no case in which it is {' or '.join(missing)}")
        page = RUNBOOKS / f"{alert}.md"
        if not page.exists():
            check(f"{alert} has a runbook", f"{page} is missing")
            continue
        lines = page.read_text().splitlines()
        wrong = None
        if not lines or lines[0] != f"# {alert}":
            wrong = "its first line is not its name"
        elif len(lines) >= RUNBOOK_LINES:
            wrong = f"it has {len(lines)} lines"
        elif f"/docs/runbooks/{alert}.md" not in rules:
            wrong = "the alert does not lead to it"
        check(f"{alert} has a runbook", wrong)
    pages = {path.stem for path in RUNBOOKS.glob("*.md")} - {"README"}
    check("each runbook has an alert", sorted(pages - set(alerts)))

    metric = re.compile(r"(?<![\w:])((?:mmn|process)_[a-z0-9_]+)(?![\w:.])")
    expressions = re.findall(r"^ *expr: (?:\|\n((?:^ {10,}.*\n)+)|(.*)$)", rules, re.MULTILINE)
    named = {name for pair in expressions for text in pair for name in metric.findall(text)}
    # A page that names a metric that is not there leads nowhere.
    for page in RUNBOOKS.glob("*.md"):
        named |= set(metric.findall(page.read_text()))
    return sorted(named)


def check_page(tools: pathlib.Path, page: str, named: list[str]) -> None:
    run("promtool check metrics", tools / "promtool", "check", "metrics", stdin=page)
    there = dict(re.findall(r"^# TYPE (\S+) (\S+)$", page, re.MULTILINE))
    ends = {"histogram": ("_bucket", "_sum", "_count")}
    series = {name + end for name, kind in there.items() for end in ends.get(kind, ("",))} | set(there)
    check("what rules and runbooks read is on the page", [name for name in named if name not in series])
    unread = [line for line in page.splitlines() if line and not line.startswith("#") and not re.match(r"\S+ |\S+\{", line)]
    check("the page has no stray lines", unread)


def wait(what: str, until, patience_s: float = PATIENCE_S):
    """Asks until there is an answer that is true."""
    ends = time.monotonic() + patience_s
    while True:
        with contextlib.suppress(OSError, ValueError):
            if answer := until():
                return answer
        if time.monotonic() > ends:
            raise TimeoutError(f"{what}: not within {patience_s:.0f} s")
        time.sleep(0.2)


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read().decode()


def processes(ancestor: int, word: str) -> list[int]:
    """Processes below `ancestor` that were started as `mmn module WORD`."""
    parents: dict[int, int] = {}
    modules = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            stat = (entry / "stat").read_text()
            parents[int(entry.name)] = int(stat.rsplit(") ", 1)[1].split()[1])
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if words[1:3] == [b"module", word.encode()]:
                modules.append(int(entry.name))

    def below(pid: int) -> bool:
        while pid > 1 and pid != ancestor:
            pid = parents.get(pid, 0)
        return pid == ancestor

    return [pid for pid in modules if below(pid)]


class Prometheus:
    """A Prometheus on loopback that looks every half second and fires at once."""

    def __init__(self, tools: pathlib.Path, work: pathlib.Path, api: str) -> None:
        home = work / "prometheus"
        home.mkdir()
        rules = re.sub(r"^( *)for: .*$", r"\1for: 0s", RULES.read_text(), flags=re.MULTILINE)
        (home / RULES.name).write_text(rules)
        token = home / "mmn.token"
        token.touch(0o600)
        token.write_text((work / "data" / "creds" / "client.token").read_text())
        (home / "prometheus.yml").write_text(f"""
global: {{scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms}}
rule_files: [{RULES.name}]
scrape_configs:
  - job_name: mmn
    authorization: {{type: Bearer, credentials_file: mmn.token}}
    static_configs: [{{targets: ['{urllib.parse.urlsplit(api).netloc}']}}]
""")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{free.getsockname()[1]}"
        self.log = (home / "log").open("w+")
        self.process = subprocess.Popen(
            [
                tools / "prometheus",
                f"--config.file={home / 'prometheus.yml'}",
                f"--storage.tsdb.path={home / 'data'}",
                f"--web.listen-address={self.url.removeprefix('http://')}",
                "--log.level=warn",
            ],
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )

    def query(self, text: str) -> list[dict[str, str]]:
        query = urllib.parse.urlencode({"query": text})
        answer = json.loads(get(f"{self.url}/api/v1/query?{query}"))
        return [sample["metric"] for sample in answer["data"]["result"]]

    def fired(self, alert: str, labels: str = "") -> list[dict[str, str]]:
        """Whether it has fired at any time."""
        return self.query(f'last_over_time(ALERTS{{alertname="{alert}",alertstate="firing"{labels}}}[10m])')

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if failed:
            self.log.seek(0)
            print(self.log.read()[-2000:], file=sys.stderr)
        self.log.close()


def live(prometheus: Prometheus, up: int) -> None:
    """Stops a module and kills another one, and watches what fires."""
    wait("a scrape", lambda: prometheus.query("mmn_anchor_ready == 1"))
    wait("healthy modules", lambda: prometheus.query('sum(mmn_module_instances{health="healthy"}) >= 3'))
    time.sleep(1.5)
    check("nothing fires in calm", prometheus.query('ALERTS{alertstate="firing"}'))

    (stopped,) = processes(up, "http")
    os.kill(stopped, signal.SIGSTOP)
    try:
        killed: set[int] = set()
        for _ in range(3):
            victim = wait("another life of dns", lambda: [p for p in processes(up, "dns") if p not in killed])[0]
            killed.add(victim)
            os.kill(victim, signal.SIGKILL)
        for alert, module in (("ModuleSuspect", "http"), ("ModuleLost", "http"), ("ModuleCrashLoop", "dns")):
            name = f"{alert} fires for a live module"
            with attempt(name):
                wait(name, lambda: prometheus.fired(alert, f',module="{module}"'))
    finally:
        os.kill(stopped, signal.SIGCONT)
    with attempt("ModuleLost is resolved when the module goes on"):
        wait("calm", lambda: not prometheus.query('ALERTS{alertname="ModuleLost",module="http"}'))

    os.kill(up, signal.SIGTERM)
    for alert in ("AnchorDown", "NoActiveAnchor"):
        with attempt(f"{alert} fires when the network has ended"):
            wait(alert, lambda: prometheus.fired(alert))


@contextlib.contextmanager
def attempt(name: str):
    try:
        yield
    except (OSError, ValueError) as error:
        check(name, error)
    else:
        check(name)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tools", type=pathlib.Path, required=True, help="where promtool and prometheus are")
    parser.add_argument("--work", type=pathlib.Path, required=True, help="holds data/, the network's directory")
    parser.add_argument("--up", type=int, required=True, help="the process id of `mmn up`")
    args = parser.parse_args()

    began = time.monotonic()
    named = check_files(args.tools, args.work)
    with attempt("a network runs"):
        api = wait("api.json", lambda: json.loads((args.work / "data" / "api.json").read_text())["url"])
        wait("readiness", lambda: get(api + "/readyz"))
        prometheus = Prometheus(args.tools, args.work, api)
        try:
            check_page(args.tools, get(api + "/metrics"), named)
            live(prometheus, args.up)
        finally:
            prometheus.stop()
    print(f"== {len(passed)} passed, {len(failed)} failed in {time.monotonic() - began:.1f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
