# The outline of a shared CPython 3.13: the symbols that tell where things are, and an interpreter
# loop of which a compiler has split off the larger part. Nothing in it runs.
#
#     cc -nostdlib -shared -s -Wl,--build-id=none,--hash-style=sysv,-z,noseparate-code \
#         -o interpreter.so interpreter.s

    .text

    # Only ever jumped to from the loop: a tail call, not a part of it.
    .type tail, @function
tail:
    .cfi_startproc
    mov %rdi, %rax
    ret
    .cfi_endproc
    .size tail, .-tail

    # Has no symbol of its own in a stripped file.
cold:
    .cfi_startproc
    .skip 300, 0x90
    jmp back
    .cfi_endproc
cold_end:

    # Reached in its middle only.
    .cfi_startproc
middle_start:
    nop
middle:
    ud2
    .cfi_endproc

    .globl _PyEval_EvalFrameDefault
    .type _PyEval_EvalFrameDefault, @function
_PyEval_EvalFrameDefault:
    .cfi_startproc
    push %rbp
    .cfi_adjust_cfa_offset 8
    test %rdi, %rdi
    je cold
    js middle
back:
    call tail
    pop %rbp
    .cfi_adjust_cfa_offset -8
    jmp tail
    .cfi_endproc
    .size _PyEval_EvalFrameDefault, .-_PyEval_EvalFrameDefault

    .globl PyGILState_GetThisThreadState
    .type PyGILState_GetThisThreadState, @function
PyGILState_GetThisThreadState:
    mov _PyRuntime@GOTPCREL(%rip), %rax
    push %rbx
    lea 0x870(%rax), %rbx
    mov %rbx, %rdi
    call tail
    pop %rbx
    ret
    .size PyGILState_GetThisThreadState, .-PyGILState_GetThisThreadState

    .section .rodata
    .globl Py_Version
    .type Py_Version, @object
Py_Version:
    .quad 0x030d02f0
    .size Py_Version, 8

    .data
    .globl PyCode_Type
    .type PyCode_Type, @object
PyCode_Type:
    .skip 416
    .size PyCode_Type, 416

    .globl _PyRuntime
    .type _PyRuntime, @object
_PyRuntime:
    .ascii "xdebugpy"
    .quad 0x030d02f0
    .quad 0
    .skip 184 - 24
    .quad 72                    # thread_state.current_frame
    .skip 232 - 192
    .quad 8, 0, 56              # interpreter_frame.previous, executable, instr_ptr
    .skip 264 - 256
    .quad 70                    # interpreter_frame.owner
    .skip 280 - 272
    .quad 112, 120, 128, 136    # code_object.filename, name, qualname, linetable
    .quad 68                    # code_object.firstlineno
    .skip 344 - 320
    .quad 200                   # code_object.co_code_adaptive
    .skip 560 - 352
    .quad 40                    # unicode_object.asciiobject_size
    .skip 2400 - 568
    .size _PyRuntime, .-_PyRuntime
