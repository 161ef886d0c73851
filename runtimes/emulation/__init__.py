"""Running artifacts as other processors do, with QEMU in user mode.

    debian -> environment -> emulated_runtime -> child (inside the emulator)
                                ^
                           processors

Integer kernels differ from processor to processor: some have instructions that others lack, and libraries choose their
kernels by what they find. Under QEMU, they find what the emulated processor has. Speed is not emulated.
"""
