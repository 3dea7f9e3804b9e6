"""What would fail hours later: findings about the installation, about what a recipe asks for, and about a model.

A check of the installation called X is the one file X in `installation`, one of a recipe the one file X in `recipe`;
those of a model are in `train/doctor_checks`, where a finding is defined. The first line of a check's docstring says
what it finds. It has

- `check()`, in `recipe` `check(wanted)`: the findings; what was looked at and is well is one of them, `fine`;
- in `recipe`, `STAGES`: the stages of `packtrain run` that would fail. Such a check is made before the first stage
  begins, when one of these has to be done; its errors stop the run, its warnings are told.
"""
