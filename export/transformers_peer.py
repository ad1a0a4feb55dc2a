"""transformers' own Qwen2.5-Omni in bf16 as a program that another one measures: `python -m` it and speak JSON.

The first line of standard input is {checkpoint, ids, tokens, codes, voice, threads, seed}, answered with {} once the
model is loaded. Each further line asks for one spoken reply of just so many tokens and codes, and is answered with
{"seconds": ..., "audio_s": ...}.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from typing import Any

import torch
from transformers import Qwen2_5OmniForConditionalGeneration


def main() -> None:
    """Answer until there are no more questions."""
    setup = json.loads(sys.stdin.readline())
    out = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        if setup["threads"]:
            torch.set_num_threads(setup["threads"])
        model: Any = Qwen2_5OmniForConditionalGeneration.from_pretrained(setup["checkpoint"], dtype=torch.bfloat16)
        model.eval()
        print("{}", file=out, flush=True)
        for _ in sys.stdin:
            print(json.dumps(_reply(model, setup)), file=out, flush=True)


@torch.no_grad()
def _reply(model: Any, setup: dict[str, Any]) -> dict[str, float]:
    """One reply; ends are not drawn before it is as long as asked."""
    ids = torch.tensor([setup["ids"]])
    talker = model.config.talker_config
    ends = [talker.tts_codec_pad_token_id, talker.tts_codec_end_token_id]
    # Ids that stand for no sound, as a model of noise draws them, would be looked up outside the flow's table.
    silent = set(range(model.config.token2wav_config.dit_config.num_embeds, talker.vocab_size)) - {*ends}
    torch.manual_seed(setup["seed"])
    start = time.perf_counter()
    _, samples = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        speaker=setup["voice"],
        thinker_do_sample=False,
        thinker_eos_token_id=model.config.thinker_config.eos_token_id,
        thinker_pad_token_id=model.config.thinker_config.pad_token_id,
        thinker_max_new_tokens=setup["tokens"],
        thinker_min_new_tokens=setup["tokens"],
        talker_max_new_tokens=setup["codes"],
        talker_min_new_tokens=setup["codes"],
        talker_eos_token_id=ends,
        talker_bad_words_ids=[[code] for code in sorted(silent - {talker.tts_codec_start_token_id})] or None,
    )
    return {"seconds": time.perf_counter() - start, "audio_s": len(samples) / setup["rate"]}


if __name__ == "__main__":
    main()
