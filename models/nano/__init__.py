"""nano: a small Qwen2.5-Omni trained here, and its recipe."""
