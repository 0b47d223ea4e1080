"""Settings dataclasses as typer options: one field, one option, one default."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator
from dataclasses import Field, fields, is_dataclass
from typing import Annotated, Any, get_type_hints

import typer


def _option(group: type, item: Field[Any], hint: Any) -> inspect.Parameter:
    """One field as a keyword parameter that typer turns into an option."""
    flag = "--" + _parameter_name(item).replace("_", "-")
    names = (f"{flag}/--no-{flag[2:]}",) if hint is bool else (flag,)
    option = typer.Option(*names, help=item.metadata["help"], rich_help_panel=_panel(group))
    return inspect.Parameter(
        _parameter_name(item),
        inspect.Parameter.KEYWORD_ONLY,
        default=item.default,
        annotation=Annotated[hint, option],
    )


def _parameter_name(item: Field[Any]) -> str:
    return (item.metadata["name"] or item.name).replace("-", "_")


def _panel(group: type) -> str:
    """A group that adds to another one shares its panel."""
    return group.__mro__[-2].__name__.removesuffix("Settings")


def _members(group: Any, without: Collection[str]) -> list[tuple[Field[Any], Any]]:
    """Fields with their types."""
    kinds = get_type_hints(group)
    return [(item, kinds[item.name]) for item in fields(group) if item.name not in without]


def _options(group: Any, without: Collection[str] = ()) -> Iterator[inspect.Parameter]:
    """One for each field, those of the groups in a group one after another."""
    for item, kind in _members(group, without):
        yield from _options(kind) if is_dataclass(kind) else [_option(group, item, kind)]


def _filled(group: Any, values: dict[str, Any], without: Collection[str] = ()) -> Any:
    """A group made of the values of its options, which are taken out."""
    found = {
        item.name: _filled(kind, values) if is_dataclass(kind) else values.pop(_parameter_name(item))
        for item, kind in _members(group, without)
    }  # fmt: skip
    return group(**found)


def with_settings(
    function: Callable[..., None], *, without: Collection[str] = ()
) -> Callable[..., None]:
    """Replace each parameter annotated with a settings dataclass by one option per field.

    The wrapped function is what typer sees; the function itself receives whole dataclasses. Fields
    may be such groups themselves; those named in `without` get no options and keep their defaults.
    """
    hints = get_type_hints(function, include_extras=True)
    groups = {name: kind for name, kind in hints.items() if is_dataclass(kind)}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(function).parameters.items():
        if name in groups:
            parameters += _options(groups[name], without)
        else:
            parameters.append(parameter.replace(annotation=hints[name]))

    def command(**values: Any) -> None:
        filled = {name: _filled(group, values, without) for name, group in groups.items()}
        function(**values, **filled)

    command.__name__, command.__doc__ = function.__name__, function.__doc__
    command.__signature__ = inspect.Signature(sorted(parameters, key=lambda p: p.kind))  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    return command
