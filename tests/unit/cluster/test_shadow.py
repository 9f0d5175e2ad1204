"""What `forebay shadow` prints."""

from rich.console import Console

from forebay.cluster.shadow import add_up, build_table, describe_example, describe_nothing

TOLD = {
    "agreed": 146, "differed": 2, "failed": 1, "lost": 3, "skipped": 1, "toldMs": {"10": 148, "50": 2},
    "copiedMs": {"20": 150}, "examples": [{"request": "a", "where": "outputs.y.data[0]", "told": "1", "shadow": "2"}],
}  # fmt: skip


def test_pods_are_added_up():
    counts = add_up([{"dark-1": TOLD}, {"dark-1": {**TOLD, "failed": 0}, "dark-2": TOLD}, {}])
    console = Console(width=120, record=True)
    console.print(build_table(counts))
    lines = [line.split() for line in console.export_text().splitlines()]
    assert lines[1][:7] == ["dark-1", "297", "98.32", "%", "1", "6", "2"]
    assert " ".join(lines[1][7:]) == "21 ms (client: 11) 21 ms (client: 51)"
    assert [each[0] for each in lines[1:]] == ["dark-1", "dark-2"]


def test_what_was_not_compared_has_no_share():
    console = Console(width=120, record=True)
    console.print(build_table(add_up([{"dark-1": {"lost": 3}}])))
    assert console.export_text().splitlines()[1].split()[:5] == ["dark-1", "0", "0", "3", "0"]


def test_where_answers_differ():
    said = "outputs.y.data[0] in the answer to request a: 1 here, 2 there"
    assert describe_example(TOLD["examples"][0]) == said


def test_why_there_is_nothing():
    def describe(**spec: object) -> str:
        return describe_nothing({"metadata": {"name": "a"}, "spec": spec})

    assert describe() == (
        "nobody gets copies of the requests to a: write spec.shadow, or a step with shadow in rollout.canary"
    )
    assert describe(shadow={"deployment": "b"}) == "nothing of a is compared yet"
    assert describe(rollout={"canary": {"steps": [{"shadow": 5}]}}) == "nothing of a is compared yet"
