"""The base in four bits (NF4), which QLoRA trains an adapter on; it is never merged into."""

from pathlib import Path
from typing import Any

import torch

from packtrain.core.errors import UserError
from packtrain.core.extras import imported
from packtrain.train.lora import import_peft
from packtrain.weights.model_files import CONFIG, read_object
from packtrain.weights.vocabulary import grow_token_tables

_ADAPTER = "train.adapter=qlora"


def load_quantised(folder: Path, tokens: int, device: torch.device, compute: torch.dtype, processes: int = 1) -> Any:
    """The causal language model in `folder` with its linear layers in NF4, with at least `tokens` token rows.

    The settings are QLoRA's (Dettmers et al. 2023): double quantisation, products in `compute`; token tables,
    norms and the output head stay float32. The model is on `device`, and neither moves nor changes its type.

    UserError with several `processes` (four-bit weights cannot be sharded), without bitsandbytes, or when the
    folder cannot be loaded or is quantised already.
    """
    if processes > 1:
        raise UserError(
            f"{_ADAPTER} trains in one process, and was started in {processes}",
            "start it without torchrun, or give train.adapter=lora: several processes share the base's weights",
        )
    import_peft("quant", _ADAPTER)
    bitsandbytes = imported("bitsandbytes", "quant", _ADAPTER)
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig
    from transformers.utils.logging import disable_progress_bar

    if read_object(folder / CONFIG, "give the folder of a Hugging Face model").get("quantization_config"):
        raise UserError(f"the base {folder} is quantised already", "give the base in its original type")
    settings = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute,
    )
    disable_progress_bar()
    try:
        model, found = AutoModelForCausalLM.from_pretrained(
            folder,
            quantization_config=settings,
            dtype=torch.float32,
            device_map={"": device},
            local_files_only=True,
            output_loading_info=True,
        )
    except Exception as error:  # transformers raises many kinds for unreadable folders
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"cannot load the model in {folder} in four bits: {reason}", "check the folder") from error
    if missing := sorted(found["missing_keys"]):
        raise UserError(f"{folder} lacks the tensor {missing[0]}", "fetch or make the folder again")
    for layer in model.modules():
        if isinstance(layer, bitsandbytes.nn.Linear4bit):
            # an evaluation on a CPU with avx512_bf16 would lay the weights out anew, for good, for a kernel that
            # has no gradient (bitsandbytes 0.50, Linear4bit.forward): training after it would go wrong unnoticed
            layer.support_avx512bf16_for_cpu = False
    grow_token_tables(model, tokens)
    return model
