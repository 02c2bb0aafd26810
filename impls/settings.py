"""Settings of what a row runs on, as environment variables: by name, where several rows need the same.

``ROW["environment"]`` gives variables, or names from here; ``impls.read_row`` puts the variables in their place.
"""

from __future__ import annotations

from typing import Literal

Setting = Literal["memory kept", "xla for recurrences"]

SETTINGS: dict[Setting, dict[str, str]] = {
    # memory comes in pages of 2 MiB, and what is freed is kept: it would come again at the next call, page by page, or
    # wait for a host that takes free pages away (docs/method.md)
    "memory kept": {
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.arena_max=1"
        ":glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=4294967296",
    },
    # operations one after the other, as each waits for the one before it; vectors as wide as the processor's; a loop
    # with little memory as one function
    "xla for recurrences": {
        "XLA_FLAGS": "--xla_cpu_enable_concurrency_optimized_scheduler=false --xla_cpu_prefer_vector_width=512"
        " --xla_backend_extra_options=xla_cpu_small_while_loop_byte_threshold=100000",
    },
}
