"""Settings dataclasses as typer options: one field, one option, one default."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import Field, fields
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


def with_settings(function: Callable[..., None]) -> Callable[..., None]:
    """Replace each parameter annotated with a settings dataclass by one option per field.

    The wrapped function is what typer sees; the function itself receives whole dataclasses.
    """
    hints = get_type_hints(function, include_extras=True)
    groups: dict[str, type] = {}
    parameters = []
    for name, parameter in inspect.signature(function).parameters.items():
        group = hints[name]
        if isinstance(group, type) and group.__name__.endswith("Settings"):
            groups[name] = group
            kinds = get_type_hints(group)
            parameters += [_option(group, item, kinds[item.name]) for item in fields(group)]
        else:
            parameters.append(parameter.replace(annotation=group))

    def command(**values: Any) -> None:
        for name, group in groups.items():
            picked = {item.name: values.pop(_parameter_name(item)) for item in fields(group)}
            values[name] = group(**picked)
        function(**values)

    command.__name__, command.__doc__ = function.__name__, function.__doc__
    command.__signature__ = inspect.Signature(sorted(parameters, key=lambda p: p.kind))  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    return command
