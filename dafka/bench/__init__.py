"""The benchmark: what this machine does with Dafka, beside the ceiling measured in the same run.

`rows` tells what is measured, `trials` how one round of it goes, `roles` what the processes of a
round do, `rounds` in which order and how often, `stats` and `report` what comes of it. Nothing here
knows the command line; `dafka.cli.bench` is in front.
"""
