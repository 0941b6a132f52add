"""Writes what an interpreter says about the lines of its own code objects.

    python3.11 capture.py > lines-3.11.jsonl

One JSON object a line: name, first line, bytes of code, line table in hexadecimal, and the runs
of instructions as [first byte offset, line or null], as PyCode_Addr2Line tells them. With
arguments, the code objects are those of these Python files; without, those of SAMPLE, which has
what makes line tables hard: gaps, steps back, and statements over several lines.
"""
import ctypes
import json
import sys
import types

SAMPLE = '''\
def decorate(*arguments):
    return lambda function: function

@decorate(
    1,
    2,
)
@decorate()
def expressions(a,
                b=lambda x: x):
    total = (
        a +
        b(
            a
        ) -
        len(
            [i
             for i in range(a)
             if i]
        )
    )
    return {
        k: [
            v
            for v in range(
                k)
        ]
        for k in range(
            total
        )
    }

def handlers(a):
    try:
        with open(
            a
        ) as f, open(
            a
        ):
            return f.read()
    except (OSError,
            ValueError) as error:
        raise RuntimeError(
            a
        ) from error
    finally:
        for i in range(3):
            if i:
                continue
            break
        else:
            print(a)

async def coroutine(a):
    async with a as b:
        async for c in b:
            yield (await c,
                   [d async for d in c])

def forward(a):
    b = a
''' + '\n' * 200 + '''
    c = b
''' + '\n' * 40000 + '''
    return b + c

def back(a):
    return (
''' + '\n' * 300 + '''
        a(a
''' + '\n' * 127 + '''
          + 1)
    )

class Outer(
    object,
):
    """Words."""
    x: int = 1

    class Inner:
        def method(self):
            return [super().x,
                    f"{self!r:>{self.x}}"]

def long(a):
    b = [''' + ', '.join('a[%d]' % i for i in range(300)) + ''']
    return (b,
            a)

while True:
    pass; x = 1; y = 2
    if x and \\
            y:
        break
'''


def code_objects(code):
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from code_objects(constant)


def runs(code):
    line_of = ctypes.pythonapi.PyCode_Addr2Line
    line_of.argtypes = [ctypes.py_object, ctypes.c_int]
    found = []
    for offset in range(0, len(code.co_code), 2):
        line = line_of(code, offset)
        # Before 3.10 every instruction has a line, and -1 is one like any other.
        line = None if line == -1 and sys.version_info >= (3, 10) else line
        if not found or found[-1][1] != line:
            found.append([offset, line])
    return found


def describe(code):
    table = code.co_linetable if sys.version_info >= (3, 10) else code.co_lnotab
    return {
        "name": code.co_name,
        "first_line": code.co_firstlineno,
        "size": len(code.co_code),
        "table": table.hex(),
        "lines": runs(code),
    }


def sources():
    for path in sys.argv[1:]:
        with open(path, "rb") as file:
            yield file.read(), path
    if not sys.argv[1:]:
        yield SAMPLE, "sample"


for source, path in sources():
    try:
        module = compile(source, path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError):
        continue
    for code in code_objects(module):
        print(json.dumps(describe(code)))
