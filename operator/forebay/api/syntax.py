"""What is wrong with text that isn't YAML, in words that help."""

import yaml


class YamlError(ValueError):
    """Text that can't be read as YAML, and why."""

    def __init__(self, line: int | None, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


# What the parser's words come down to, in the order in which they are looked for.
REASONS = {
    "mapping values are not allowed": "a second `: ` where no field can start: put the value in quotes, or indent the "
    "line as its neighbours are",
    "could not find expected ':'": "a line without `: ` after the name of a field, or quotes that are not closed",
    "did not find expected key": "a line that fits nowhere: it is indented unlike its neighbours, or the one above is "
    "not complete",
    "did not find expected '-'": "a line that fits nowhere: the items of one list start with `- ` in the same column",
    "cannot start any token": "a character that no value can start with: put the value in quotes",
    "escape character": "a backslash in double quotes that starts no escape: use single quotes",
    "unexpected end of stream": "quotes that are not closed",
    "did not find expected ',' or": "a bracket or brace that is not closed",
}


def explain(error: yaml.MarkedYAMLError, text: str) -> YamlError:
    """Say what the parser's words come down to, and where."""
    mark = error.problem_mark or error.context_mark
    problem = error.problem or error.context or "it cannot be read"
    if mark is None:
        return YamlError(None, f"is not YAML: {problem}")
    line = [*text.split("\n")[mark.line : mark.line + 1], ""][0]
    if "\t" in line[: mark.column + 1] or "tab character" in problem:
        reason = "a tab: YAML is indented with spaces only"
    else:
        reason = next((words for part, words in REASONS.items() if part in problem), problem)
    return YamlError(mark.line + 1, f"is not YAML: {reason} (column {mark.column + 1})")


def explain_character(text: str) -> YamlError:
    """Find the character that YAML doesn't take: the parser's position counts bytes or characters, as it happens."""
    found = yaml.reader.Reader.NON_PRINTABLE.search(text)
    if found is None:
        return YamlError(None, "is not YAML: it holds a character that YAML does not take")
    line = text.count("\n", 0, found.start()) + 1
    return YamlError(line, f"is not YAML: it holds the character U+{ord(found.group()):04X}; in quotes, escape it")
