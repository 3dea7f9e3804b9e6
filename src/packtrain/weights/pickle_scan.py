"""A pickle's instructions, followed without running one: what it would load, refused where that is no tensor.

The instructions, and the names that they may call, are those that `torch.save` writes for a dictionary
of plain tensors (torch/serialization.py, torch/_tensor.py `_reduce_ex_internal`, pickle protocol 2);
what a size or an offset says is held against the storage before torch believes it.
"""

import math
import pickletools
from collections.abc import Iterator
from dataclasses import dataclass, field

from packtrain.weights.info import SAFETENSORS_CODES, torch_dtype
from packtrain.weights.untrusted import MAX_DIMENSIONS, Lie, is_tensor_name, shown

MAX_INSTRUCTIONS = 1_000_000
"""A tensor takes about 35; this bounds what a pickle can make torch allocate."""

_ITEMSIZES = {f"torch {name}": torch_dtype(name).itemsize for name in SAFETENSORS_CODES}
_STORAGES = {
    "torch.storage UntypedStorage": 1,
    "torch DoubleStorage": 8,
    "torch FloatStorage": 4,
    "torch HalfStorage": 2,
    "torch BFloat16Storage": 2,
    "torch LongStorage": 8,
    "torch IntStorage": 4,
    "torch ShortStorage": 2,
    "torch CharStorage": 1,
    "torch ByteStorage": 1,
    "torch BoolStorage": 1,
}
"""Bytes of an element."""

_DICTIONARY = "collections OrderedDict"
_PARAMETER = "torch._utils _rebuild_parameter"
_TENSORS = ("torch._utils _rebuild_tensor", "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_tensor_v3")


@dataclass(frozen=True, slots=True)
class StorageClaim:
    """What a pickle says of the record `data/key`, and the dictionary's entry for which it first says so."""

    key: str
    nbytes: int
    itemsize: int
    entry: str


@dataclass(frozen=True, slots=True)
class _Global:
    name: str


@dataclass(slots=True, eq=False)
class _Mapping:
    keys: set[str | int] = field(default_factory=set)
    is_ordered: bool = False


_LIST, _TENSOR = object(), object()


def claimed_storages(pickled: bytes, file_bytes: int) -> dict[str, StorageClaim]:
    """What a pickle of tensors says of every storage that it uses, by key; raises Lie where it is anything else.

    `file_bytes` bounds the size of a tensor that repeats its elements (a stride of 0).
    """
    try:
        return _Scan(file_bytes).follow(_instructions(pickled))
    except (IndexError, KeyError) as error:  # a stack that has run empty, a memo that was never set
        raise Lie("its pickle is damaged") from error


def _instructions(pickled: bytes) -> Iterator[tuple[str, object]]:
    instructions = pickletools.genops(pickled)
    for _ in range(MAX_INSTRUCTIONS):
        try:
            opcode, argument, _position = next(instructions)
        except ValueError as error:
            raise Lie("its pickle is damaged") from error
        yield opcode.name, argument
        if opcode.name == "STOP":
            return
    raise Lie(f"its pickle has more than {MAX_INSTRUCTIONS} instructions")


class _Scan:
    def __init__(self, file_bytes: int) -> None:
        self._file_bytes = file_bytes
        self._claims: dict[str, StorageClaim] = {}
        self._frames: list[list[object]] = [[]]
        self._memo: dict[object, object] = {}

    def follow(self, instructions: Iterator[tuple[str, object]]) -> dict[str, StorageClaim]:
        for name, argument in instructions:
            stack = self._frames[-1]
            match name:
                case "BINUNICODE" | "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT":
                    stack.append(argument)
                case "NONE" | "NEWTRUE" | "NEWFALSE":
                    stack.append(None)
                case "GLOBAL":
                    stack.append(_Global(self._known(str(argument))))
                case "BINPUT" | "LONG_BINPUT":
                    self._memo[argument] = stack[-1]
                case "BINGET" | "LONG_BINGET":
                    stack.append(self._memo[argument])
                case "MARK":
                    self._frames.append([])
                case "EMPTY_TUPLE":
                    stack.append(())
                case "TUPLE1" | "TUPLE2" | "TUPLE3":
                    stack.append(tuple(reversed([stack.pop() for _ in range(int(name[-1]))])))
                case "TUPLE":
                    items = self._frames.pop()
                    self._frames[-1].append(tuple(items))
                case "EMPTY_DICT":
                    stack.append(_Mapping())
                case "EMPTY_LIST":
                    stack.append(_LIST)
                case "SETITEM":
                    value, key = stack.pop(), stack.pop()
                    self._set_items(stack[-1], [key, value])
                case "SETITEMS":
                    items = self._frames.pop()
                    self._set_items(self._frames[-1][-1], items)
                case "APPEND" | "APPENDS":
                    self._frames.pop() if name == "APPENDS" else stack.pop()
                    if self._frames[-1][-1] is not _LIST:
                        raise Lie("its pickle is damaged")
                case "BINPERSID":
                    stack.append(self._storage(stack.pop()))
                case "REDUCE":
                    arguments, function = stack.pop(), stack.pop()
                    stack.append(self._call(function, arguments))
                case "BUILD":
                    state = stack.pop()
                    if not isinstance(state, _Mapping) or not getattr(stack[-1], "is_ordered", False):
                        raise Lie(f"{self._entry()} sets attributes of something other than a dictionary")
                case "PROTO" if argument == 2:
                    pass
                case "STOP":
                    break
                case _:
                    raise Lie(f"its pickle has the instruction {name}, as torch.save never writes it")
        return self._claims

    def _entry(self) -> str:
        """The entry of the dictionary that is being read, for a message."""
        keys = [value for frame in self._frames[:2] for value in frame if isinstance(value, str)]
        return f"entry {shown(keys[-1])}" if keys else "it"

    def _known(self, name: str) -> str:
        if name not in (_DICTIONARY, _PARAMETER, *_TENSORS) and name not in _STORAGES and name not in _ITEMSIZES:
            raise Lie(f"{self._entry()} needs {shown(name.replace(' ', '.'))}")
        return name

    def _set_items(self, mapping: object, items: list[object]) -> None:
        if not isinstance(mapping, _Mapping) or len(items) % 2:
            raise Lie("its pickle is damaged")
        for key in items[::2]:
            if not isinstance(key, str | int):
                raise Lie("one of its dictionaries has a key that is neither text nor number")
            if key in mapping.keys:
                raise Lie(f"entry {shown(key)} stands there twice")
            mapping.keys.add(key)

    def _storage(self, persistent_id: object) -> StorageClaim:
        match persistent_id:
            case ("storage", _Global(name), str(key), str(), int(count)) if (
                name in _STORAGES and is_tensor_name(key) and count >= 0
            ):
                itemsize = _STORAGES[name]
            case _:
                raise Lie(f"{self._entry()} has no proper storage")
        known = self._claims.setdefault(key, StorageClaim(key, count * itemsize, itemsize, self._entry()))
        if known.nbytes != count * itemsize:
            raise Lie(f"{self._entry()} and {known.entry} disagree about the size of their common storage")
        return known

    def _call(self, function: object, arguments: object) -> object:
        match function, arguments:
            case _Global(name), () if name == _DICTIONARY:
                return _Mapping(is_ordered=True)
            case _Global(name), (tensor, *_) if name == _PARAMETER and tensor is _TENSOR:
                return _TENSOR
            case _Global(name), (StorageClaim() as storage, offset, tuple(size), tuple(stride), *others):
                itemsize = storage.itemsize
                if name.endswith("_v3") and len(others) > 2 and isinstance(others[2], _Global):
                    itemsize = _ITEMSIZES.get(others[2].name, itemsize)
                if name in _TENSORS:
                    self._check_layout(storage, itemsize, (offset, *size), stride)
                    return _TENSOR
        raise Lie(f"{self._entry()} is made in a way in which torch.save makes no tensor")

    def _check_layout(
        self, storage: StorageClaim, itemsize: int, offset_size: tuple[object, ...], stride: tuple[object, ...]
    ) -> None:
        numbers = [number for number in (*offset_size, *stride) if type(number) is int and 0 <= number < 2**63]
        offset, size, steps = numbers[0], numbers[1 : len(offset_size)], numbers[len(offset_size) :]
        if len(numbers) != len(offset_size) + len(stride) or len(size) != len(stride) or len(size) > MAX_DIMENSIONS:
            raise Lie(f"{self._entry()} has sizes or strides that no tensor has")
        if math.prod(max(count, 1) for count in size) * itemsize >= 2**63:
            raise Lie(f"{self._entry()} has sizes whose product no machine can hold")
        reach = sum((count - 1) * step for count, step in zip(size, steps, strict=True)) + 1 if all(size) else 0
        if (offset + reach) * itemsize > storage.nbytes:
            raise Lie(f"{self._entry()} reaches to byte {(offset + reach) * itemsize} of {storage.nbytes}")
        if math.prod(size) * itemsize > max(self._file_bytes, storage.nbytes):
            raise Lie(f"{self._entry()} repeats its elements until they are more than the file has")
