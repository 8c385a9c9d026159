"""What the three node services share. A module that needs more than the standard library loads only where it is used.

The program: :mod:`~npu_core.service.program` from its first line to its end; :mod:`~npu_core.service.options` one row
per option; :mod:`~npu_core.service.settings` values as they were given; :mod:`~npu_core.service.plain_options` plain
command lines; :mod:`~npu_core.service.command_line` every other one, and ``--help``;
:mod:`~npu_core.service.lifetime` signals.

What is read: :mod:`~npu_core.service.given_files` and :mod:`~npu_core.service.file_looks` files that an operator names
(:mod:`npu_core.config` follows the configuration file); :mod:`~npu_core.service.device_threads` cards that may hang.

What is told: :mod:`~npu_core.service.logs` and :mod:`~npu_core.service.events` the log;
:mod:`~npu_core.service.metrics` the metrics of a service of itself; :mod:`~npu_core.service.status` its pages;
:mod:`~npu_core.service.http` the server below them.
"""
