"""What the quantizer's bench compares: CPU seconds of a program and all that it starts."""

import re
import sys
from typing import Final

from bench.quantizer.running import END, run

# Burns in itself and in a child, and says so before the child has been waited for.
PROGRAM: Final = """
import subprocess, sys, time
burn = "import time\\nwhile time.process_time() < 0.4: pass"
child = subprocess.Popen([sys.executable, "-c", burn + "\\nprint('burnt', flush=True)\\ninput()"],
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.readline()
exec(burn)
print("[1/2] half-way", file=sys.stderr, flush=True)
child.communicate(b"\\n")
print("printed")
"""
MARKS: Final = {"half": re.compile("half-way"), "never": re.compile("no such words")}


def test_all_processes_count_at_a_mark_and_at_the_end() -> None:
    done = run([sys.executable, "-c", PROGRAM], MARKS, 60)
    assert (done.code, done.printed, set(done.spent)) == (0, "printed\n", {"half", END})
    assert done.spent["half"].cpu >= 0.75
    assert done.spent[END].cpu >= done.spent["half"].cpu - 0.05
    assert done.spent[END].wall >= done.spent["half"].wall


def test_a_program_that_takes_too_long_is_stopped() -> None:
    done = run([sys.executable, "-c", "import time; time.sleep(600)"], {}, 0.5)
    assert done.code == -9
    assert done.spent[END].wall < 60
