"""What a model is measured by: suites of questions with known answers (omni-edge eval)."""
