"""The order of examples of `clinical-train` (`src/order.rs`), computed without Rust: prints the permutations that
`crates/clinical-train/tests/order.rs` expects. Needs nothing but Python."""

import struct

WORD = 0xFFFFFFFF


def block(key, counter):
    """One block of ChaCha8 (Bernstein 2008) with a counter of 64 bits and a nonce of 0: sixteen words."""
    start = [*struct.unpack("<4I", b"expand 32-byte k"), *struct.unpack("<8I", key)]
    start += [counter & WORD, counter >> 32, 0, 0]
    state = list(start)

    def quarter(a, b, c, d):
        for x, y, z, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            state[x] = (state[x] + state[y]) & WORD
            mixed = state[z] ^ state[x]
            state[z] = ((mixed << turn) | (mixed >> (32 - turn))) & WORD

    for _ in range(4):
        for at in range(4):
            quarter(at, 4 + at, 8 + at, 12 + at)
        for at in range(4):
            quarter(at, 4 + (at + 1) % 4, 8 + (at + 2) % 4, 12 + (at + 3) % 4)
    return [(x + y) & WORD for x, y in zip(state, start)]


def words(key):
    """The stream as numbers of 64 bits, the low half first."""
    counter = 0
    while True:
        found = block(key, counter)
        for low, high in zip(found[::2], found[1::2]):
            yield low | high << 32
        counter += 1


def below(stream, bound):
    """Lemire 2019."""
    while True:
        product = next(stream) * bound
        if product % 2**64 >= 2**64 % bound:
            return product >> 64


def permutation(seed, epoch, examples):
    stream = words(b"order   " + struct.pack("<3Q", seed, epoch, 0))
    order = list(range(examples))
    for last in range(examples - 1, 0, -1):
        other = below(stream, last + 1)
        order[last], order[other] = order[other], order[last]
    return order


for epoch in (0, 1):
    print(permutation(42, epoch, 10))
