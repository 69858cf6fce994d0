"""The C headers of templates/common, compiled and compared with NumPy, SciPy and mpmath."""
