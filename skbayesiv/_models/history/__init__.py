"""The effect's prior learnt from earlier experiments, around any model."""
