"""Settings from a file, and following it while a service runs. Needs the extra ``npu-core[config]``.

Who does what: :mod:`~npu_core.config.file` reads YAML strictly, each value with its line; :mod:`~npu_core.config.watch`
notices that a file changed; :mod:`~npu_core.config.reload` puts a right change in force and refuses a wrong one.
"""
