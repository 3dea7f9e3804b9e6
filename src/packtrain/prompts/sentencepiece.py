"""LLaMA's `tokenizer.model` as a fast tokenizer that gives the ids of the original.

Model folders of 2023 often hold the SentencePiece file alone. Converting it with current
transformers tokenises runs of spaces differently (`Hello  world`, every indented line of code);
this conversion orders the merges by the pieces' scores, as SentencePiece itself does.
"""

from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, normalizers, processors
from tokenizers.models import BPE

from packtrain.core.errors import UserError

_UNKNOWN, _CONTROL, _USER_DEFINED = 2, 3, 4
_SPACE = "\u2581"


def tokenizer_from_sentencepiece(path: Path) -> Tokenizer:
    """A tokenizers.Tokenizer with the vocabulary, merges, BOS and byte fallback of a SentencePiece BPE model.

    Special tokens keep the white space around them (the `legacy` behaviour of LLaMA's slow
    tokenizer). UserError when the file is not a SentencePiece BPE model.
    """
    from google.protobuf.message import DecodeError
    from sentencepiece import sentencepiece_model_pb2

    model = sentencepiece_model_pb2.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except (OSError, DecodeError) as error:
        raise UserError(f"{path} is not a SentencePiece model ({error})", "fetch the tokenizer again") from error
    if model.trainer_spec.model_type != model.trainer_spec.BPE:
        raise UserError(f"{path} is not a BPE model", "give a folder that holds tokenizer.json")
    vocabulary = {piece.piece: index for index, piece in enumerate(model.pieces)}
    unknown = model.pieces[model.trainer_spec.unk_id].piece
    tokenizer = Tokenizer(
        BPE(vocabulary, _merges(model, vocabulary), unk_token=unknown, fuse_unk=True, byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(_SPACE), normalizers.Replace(" ", _SPACE)])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    specials = [piece.piece for piece in model.pieces if piece.type in (_UNKNOWN, _CONTROL, _USER_DEFINED)]
    tokenizer.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in specials])
    bos = model.pieces[model.trainer_spec.bos_id].piece
    tokenizer.post_processor = processors.TemplateProcessing(
        single=[bos, "$A"], pair=[bos, "$A", bos, "$B"], special_tokens=[(bos, vocabulary[bos])]
    )
    return tokenizer


def _merges(model: "object", vocabulary: dict[str, int]) -> list[tuple[str, str]]:
    """All ways to build a piece of two others, best piece first (stable within a piece by the parts' ids)."""
    scored: list[tuple[float, str, str]] = []
    for piece in model.pieces:  # type: ignore[attr-defined]
        text = piece.piece
        parts = [(text[:cut], text[cut:]) for cut in range(1, len(text))]
        known = [(left, right) for left, right in parts if left in vocabulary and right in vocabulary]
        known.sort(key=lambda pair: (vocabulary[pair[0]], vocabulary[pair[1]]))
        scored.extend((piece.score, left, right) for left, right in known)
    scored.sort(key=lambda merge: -merge[0])
    return [(left, right) for _, left, right in scored]
