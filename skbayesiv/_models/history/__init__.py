"""The effect's prior learnt from earlier experiments."""
