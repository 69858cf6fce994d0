"""`dataclass` for the classes of the compiler, some hundred of which are defined on import.

That of the standard library compiles the text of up to six methods for every class, which was a third of the time of
importing the compiler. Here the methods that need a text are compiled when they are first called, and the others are
shared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:
    import dataclasses
    from types import SimpleNamespace

    def dataclass(*, frozen=False, slots, eq=True):
        """What `dataclasses.dataclass` makes of a class, so that `fields`, `replace` and the others
        take its instances; `slots` has to be set. `order`, keyword-only fields, InitVar, `hash` of a field
        and `copy.replace` are not there, and a subclass that is no record has no attributes of its own.

        Of a class that was never called, `inspect.signature` knows no parameters.
        """
        assert slots, "dataclasses.dataclass has those without slots"
        return lambda cls: _with_methods(_with_slots(cls, frozen, eq), frozen, eq)

    def _with_slots(cls, frozen, eq):
        """The class once more, with a slot for each field."""
        own = _own_fields(cls)
        taken = {slot for base in cls.__mro__[1:] for slot in vars(base).get("__slots__", ())}
        fields = {}
        for base in cls.__mro__[:0:-1]:
            fields.update(vars(base).get("__dataclass_fields__", {}))
        fields.update(own)
        for base in cls.__mro__[1:]:
            params = vars(base).get("__dataclass_params__")
            assert params is None or params.frozen == frozen, (
                "records are frozen as their bases are"
            )
        namespace = {name: value for name, value in vars(cls).items() if name not in own}
        namespace.pop("__dict__", None)
        namespace.pop("__weakref__", None)
        namespace["__slots__"] = tuple(name for name in own if name not in taken)
        namespace["__dataclass_fields__"] = fields
        namespace["__dataclass_params__"] = SimpleNamespace(frozen=frozen, eq=eq, order=False)
        namespace.setdefault(
            "__match_args__", tuple(name for name, field in fields.items() if field.init)
        )
        made = type(cls)(cls.__name__, cls.__bases__, namespace)
        made.__qualname__ = cls.__qualname__
        return made

    def _own_fields(cls):
        found = {}
        for name, annotation in vars(cls).get("__annotations__", {}).items():
            if annotation.startswith("ClassVar"):
                continue
            field = vars(cls).get(name, dataclasses.MISSING)
            if not isinstance(field, dataclasses.Field):
                field = dataclasses.field(default=field)
            assert field.default.__class__.__hash__, f"{name}: a default that changes is shared"
            field.name, field.type = name, annotation
            field._field_type, field.kw_only = dataclasses._FIELD, False
            found[name] = field
        return found

    def _with_methods(cls, frozen, eq):
        given = vars(cls)
        # Of a class that has __eq__, Python itself makes __hash__ None.
        has_own_hash = "__hash__" in given and not (given["__hash__"] is None and "__eq__" in given)
        if "__init__" not in given:
            _compile_on_use(cls, "__init__", lambda: _init_text(cls, frozen))
        if "__repr__" not in given:
            cls.__repr__ = _repr
        if eq and "__eq__" not in given:
            _compile_on_use(cls, "__eq__", lambda: _eq_text(cls))
        if eq and not has_own_hash:
            if frozen:
                _compile_on_use(cls, "__hash__", lambda: _hash_text(cls))
            else:
                cls.__hash__ = None
        if frozen:
            cls.__setattr__, cls.__delattr__ = _refuse_to_set, _refuse_to_delete
            if "__getstate__" not in given:
                cls.__getstate__, cls.__setstate__ = _get_state, _set_state
        return cls

    def _compile_on_use(cls, name, write):
        """Gives the class a method that puts what `write` returns, a text and the names it uses, in its place."""

        def method(self, *args, **kwargs):
            text, names = write()
            made = {}
            exec(text, names, made)
            made[name].__qualname__ = f"{cls.__qualname__}.{name}"
            setattr(cls, name, made[name])
            return made[name](self, *args, **kwargs)

        setattr(cls, name, method)

    def _init_text(cls, frozen):
        names = {"set_field": object.__setattr__, "ABSENT": dataclasses.MISSING}
        parameters, lines = ["self"], []
        for name, field in cls.__dataclass_fields__.items():
            value = name
            if field.default_factory is not dataclasses.MISSING:
                names[f"make_{name}"] = field.default_factory
                value = f"make_{name}()"
                if field.init:
                    parameters.append(f"{name}=ABSENT")
                    value += f" if {name} is ABSENT else {name}"
            elif field.default is not dataclasses.MISSING:
                names[f"default_{name}"] = field.default
                if field.init:
                    parameters.append(f"{name}=default_{name}")
                else:
                    value = f"default_{name}"
            elif field.init:
                parameters.append(name)
            else:
                continue
            lines.append(
                f"set_field(self, {name!r}, {value})" if frozen else f"self.{name} = {value}"
            )
        if hasattr(cls, "__post_init__"):
            lines.append("self.__post_init__()")
        body = "\n ".join(lines or ["pass"])
        return f"def __init__({', '.join(parameters)}):\n {body}", names

    def _eq_text(cls):
        mine, others = _tuple_text(cls, "self"), _tuple_text(cls, "other")
        same_class = "other.__class__ is self.__class__"
        return (
            f"def __eq__(self, other):\n return {mine} == {others} if {same_class} else NotImplemented",
            {},
        )

    def _hash_text(cls):
        return f"def __hash__(self):\n return hash({_tuple_text(cls, 'self')})", {}

    def _tuple_text(cls, record):
        fields = cls.__dataclass_fields__.items()
        return f"({''.join(f'{record}.{name}, ' for name, field in fields if field.compare)})"

    def _repr(self):
        fields = self.__dataclass_fields__.items()
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name, field in fields if field.repr)
        return f"{self.__class__.__qualname__}({shown})"

    def _refuse_to_set(self, name, value):
        raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")

    def _refuse_to_delete(self, name):
        raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")

    def _get_state(self):
        return [getattr(self, name) for name in self.__dataclass_fields__]

    def _set_state(self, state):
        for name, value in zip(self.__dataclass_fields__, state, strict=True):
            object.__setattr__(self, name, value)
