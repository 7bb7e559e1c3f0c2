"""The limit of one BLAS thread is the whole process's: whoever comes and goes, it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
import scipy.linalg  # noqa: F401  (loads the second BLAS)
from threadpoolctl import threadpool_info, threadpool_limits

from skbayesiv._sampling.threads import _process, one_blas_thread


def blas_threads():
    """Numbers of threads of each BLAS in the process."""
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


@pytest.fixture
def three():
    """Three BLAS threads, whatever the machine has."""
    with threadpool_limits(3, user_api="blas"):
        yield


@pytest.fixture
def two_threads():
    """Two Python threads that stay alive, each with a stack of contexts."""
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as two:
        yield [(pool, ExitStack()) for pool in (one, two)]


def enter(thread):
    pool, stack = thread
    pool.submit(stack.enter_context, one_blas_thread()).result()


def leave(thread):
    pool, stack = thread
    pool.submit(stack.close).result()


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["first in first out", "nested"])
def test_the_last_of_several_threads_sets_it_back(two_threads, order):
    before = blas_threads()
    for thread in two_threads:
        enter(thread)
        assert blas_threads() == {1}
    leave(two_threads[order[0]])
    assert blas_threads() == {1}
    leave(two_threads[order[1]])
    assert blas_threads() == before


def test_the_last_sets_it_back_in_the_midst_of_the_first_leaving(two_threads):
    """The thread that set a limit first keeps others from it, until its context has ended."""
    before = blas_threads()
    (one, _), (two, _) = two_threads
    for pool, step in [(one, "enter"), (two, "enter"), (one, "leave"), (two, "leave")]:
        pool.submit(getattr(_process, step)).result()
    assert blas_threads() == before
    with threadpool_limits(1, user_api="blas"):
        assert blas_threads() == {1}


def test_what_the_process_had_comes_back_each_time(three):
    for _ in range(2):
        with one_blas_thread():
            with one_blas_thread():
                assert blas_threads() == {1}
            assert blas_threads() == {1}
        assert blas_threads() == {3}


def test_it_ends_when_an_error_leaves_it(three):
    with pytest.raises(InterruptedError), one_blas_thread():
        raise InterruptedError
    assert blas_threads() == {3}


FORKED = """
import os, threading
import numpy, scipy.linalg
from threadpoolctl import threadpool_info
from skbayesiv._sampling.threads import one_blas_thread

def report():
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    print(sorted({pool["num_threads"] for pool in pools}), flush=True)

inside, done = threading.Event(), threading.Event()
def hold():
    with one_blas_thread():
        inside.set()
        done.wait()

report()
thread = threading.Thread(target=hold)
thread.start()
inside.wait()
if not (child := os.fork()):
    report()
    with one_blas_thread():
        report()
    report()
    os._exit(0)
os.waitpid(child, 0)
done.set()
thread.join()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_child_forked_meanwhile_does_not_keep_it():
    command = [sys.executable, "-W", "ignore", "-c", FORKED]
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    before, *child = out.split()
    assert child == [before, "[1]", before]
