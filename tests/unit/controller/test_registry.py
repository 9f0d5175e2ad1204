"""Who is woken by a change of a ModelVersion: those that name it, and no others."""

import asyncio
from typing import Any

import pytest

from forebay.controller.registry import MOVE_S, Model, Registry, read_entry
from forebay.kube.holdings import Owner
from forebay.plan.versions import UnknownVersionError


def version(number: str, *aliases: str, uri: str = "", namespace: str = "ns", model: str = "digits") -> dict[str, Any]:
    spec = {"model": model, "version": number, "uri": uri or f"s3://a/{number}", "aliases": list(aliases)}
    metadata = {"name": f"{model}-{number}", "namespace": namespace, "uid": number, "generation": 1}
    return {"metadata": metadata, "spec": spec}


def deployment(reference: str) -> dict[str, Any]:
    return {"spec": {"model": {"version": reference}}}


class Site:
    """A registry in which three ModelDeployments name something, and one nothing."""

    def __init__(self) -> None:
        self.woken: list[str] = []
        self.registry = Registry(lambda owner: self.woken.append(owner.name))
        for name, reference in (("two", "digits:2"), ("champion", "digits@champion"), ("letters", "letters:1")):
            self.registry.note(Owner("ns", name), deployment(reference))
        self.registry.note(Owner("ns", "plain"), {"spec": {"model": {"uri": "s3://a/b"}}})
        self.registry.note(Owner("other", "elsewhere"), deployment("digits:2"))
        self.follower = self.registry.follow(namespace="")

    def list(self, *bodies: dict[str, Any]) -> None:
        self.follower.listed([read_entry(each) for each in bodies])

    async def settle(self) -> set[str]:
        await asyncio.sleep(MOVE_S * 1.5)
        woken, self.woken = set(self.woken), []
        return woken


@pytest.mark.parametrize(
    ("change", "woken"),
    [
        (("1", "champion"), set()),  # as it is
        (("1",), {"champion"}),
        (("2", "candidate"), set()),
        (("2", "champion"), {"champion"}),
        (("3",), set()),
        (("3", "champion"), {"champion"}),
    ],
)
async def test_a_change_wakes_who_names_it(change: tuple[str, ...], woken: set[str]) -> None:
    site = Site()
    site.list(version("1", "champion"), version("2"))
    assert await site.settle() == {"two", "champion"}
    site.follower.changed(True, read_entry(version(*change)))
    assert await site.settle() == woken


async def test_other_content_and_one_that_goes() -> None:
    site = Site()
    site.list(version("2", "champion"))
    await site.settle()
    site.follower.changed(True, read_entry(version("2", "champion", uri="s3://a/other")))
    assert await site.settle() == {"two", "champion"}
    site.follower.changed(False, read_entry(version("2", "champion", uri="s3://a/other")))
    assert await site.settle() == {"two", "champion"}
    with pytest.raises(UnknownVersionError):
        site.registry.choose("ns", "digits:2")


async def test_a_list_after_changes_were_missed() -> None:
    site = Site()
    assert not site.registry.is_listed("ns")
    site.list(version("1", "champion"), version("2"), version("2", namespace="other"))
    assert site.registry.is_listed("ns")
    await site.settle()
    site.list(version("2"), version("2", namespace="other"))
    assert await site.settle() == {"champion"}


async def test_who_names_another_is_no_more_woken() -> None:
    site = Site()
    site.registry.note(Owner("ns", "two"), deployment("digits:1"))
    site.registry.note(Owner("ns", "champion"), None)
    site.list(version("2", "champion"))
    assert await site.settle() == set()
    site.list(version("1"), version("2", "champion"))
    assert await site.settle() == {"two"}


async def test_models_that_changed_are_named_once() -> None:
    site = Site()
    site.list(version("1"), version("2"), version("1", model="letters"))
    assert site.registry.changed.is_set()
    assert site.registry.take_changed() == {Model("ns", "digits"), Model("ns", "letters")}
    assert not site.registry.changed.is_set()
    assert site.registry.take_changed() == set()
