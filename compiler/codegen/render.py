"""The only importer of jinja2: templates in, C out."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import jinja2

TEMPLATES = Path(__file__).resolve().parent.parent.parent / "templates"


@cache
def template_text(path: str) -> str:
    """The text of a file of `templates/`, as it is."""
    root = TEMPLATES if TEMPLATES.is_dir() else Path(__file__).parent.parent.parent / "templates"
    return (root / path).read_text(encoding="utf-8")


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        variable_start_string="${",
        variable_end_string="}",
        block_start_string="//%-",
        block_end_string="-%//",
        comment_start_string="//#-",
        comment_end_string="-#//",
        line_statement_prefix="//%",
        line_comment_prefix="//#",
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )


def render(path: str, **values: object) -> str:
    """A template of `templates/` with its values."""
    return _environment().get_template(path).render(**values)
