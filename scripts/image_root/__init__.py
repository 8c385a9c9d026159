"""Assembles the root directory of an image: an interpreter, what it loads, and packages; nothing else.

Runs in the build stage of deployments/images/Dockerfile, on the Python that the image is to have, as root. Needs the
standard library alone, and ``ldd``, ``ldconfig`` and ``strip``. Who does what: :mod:`~image_root.interpreter` Python
itself, :mod:`~image_root.libraries` the shared libraries, :mod:`~image_root.packages` what was installed,
:mod:`~image_root.compiled` modules without their sources, and ``inside.py`` looks at the result from inside.
"""
