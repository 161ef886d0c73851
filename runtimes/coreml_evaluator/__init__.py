"""Evaluating Core ML packages on any system: the program is read from disk and computed by PyTorch on the CPU.

    package_files -> values -> plan -> program
                                ^
                            operations

A package holds a program of MIL, Core ML's intermediate language. Each of its operations is one function under
``operations``, registered under its name, whose parameters have the names of MIL's. Loading a package binds operations
to their functions, converts constant arguments once, and computes whatever depends on constants alone, such as
compressed weights.

What this shows is whether the file holds the right computation. It does not show the numerics of a device: which
values the Neural Engine or the GPU of an Apple device rounds inside an operation is not published.
"""
