"""Every class, attribute and method that scripts know is there."""

import enum
import inspect

import pytest
import scamper
from surface import SURFACE

# Attributes that an instance has, and its class has not.
OF_INSTANCES = {"ScamperCtrl": {"morecb", "eofcb", "param", "outfile"}, "ScamperInstError": {"inst"}}


@pytest.mark.parametrize("name", SURFACE)
def test_class_has_all_its_names(name: str) -> None:
    cls = getattr(scamper, name)
    missing = [member for member in SURFACE[name].split() if not hasattr(cls, member)]
    assert set(missing) <= OF_INSTANCES.get(name, set())


def test_instances_have_what_classes_lack() -> None:
    control = scamper.ScamperCtrl[None]()
    assert all(hasattr(control, name) for name in OF_INSTANCES["ScamperCtrl"])


def test_properties_are_read_and_methods_are_called() -> None:
    methods = {"is_icmp", "replies", "reply", "to_json", "hops", "ans", "probe", "vps", "done", "halt", "bufs", "txs"}
    for name, members in SURFACE.items():
        cls = getattr(scamper, name)
        for member in set(members.split()) & methods:
            assert callable(getattr(cls, member)), f"{name}.{member}"


@pytest.mark.parametrize("name", [name for name in SURFACE if inspect.isclass(getattr(scamper, name, None))])
def test_results_are_made_by_reading_alone(name: str) -> None:
    cls = getattr(scamper, name)
    made = {
        "ScamperAddr", "ScamperFile", "ScamperCtrl", "ScamperInstError", "ScamperDealiasProbedef",
        "ScamperDealiasMidardiscRound", "ScamperIcmpMplsLabelStackEntry",
    }  # fmt: skip
    if name in made or issubclass(cls, enum.IntEnum):
        return
    with pytest.raises(TypeError):
        cls()


def test_numbers_have_their_names() -> None:
    assert scamper.ScamperPingStop.InProgress == 4
    assert scamper.ScamperTraceStop.GSS == 8
    assert scamper.ScamperHostType.HTTPS == 65
    assert scamper.ScamperHttpEchStatus.FailedEchBadName == 12
    assert scamper.ScamperOwampSchedType.Exponential == 1
