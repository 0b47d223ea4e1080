"""The experiment: what distillation buys on the procedural cohort."""
