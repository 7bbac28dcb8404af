"""LMDB and HDF5 that are damaged, changed while in use, or lead elsewhere."""

import os
import random
import resource
from pathlib import Path

import h5py
import lmdb
import numpy as np
import pytest
from helpers.hostile import first_batch, reader_of, refused
from nettrain.data.btree import Database

pytestmark = pytest.mark.usefixtures("workdir")


# LMDB


def write_random_lmdb(sizes, deleted=0, seed=0):
    rng, records = random.Random(seed), {}
    with lmdb.open("db", map_size=1 << 26) as database:
        with database.begin(write=True) as transaction:
            for _ in range(300):
                key, value = b"%08d" % rng.randrange(10**8), rng.randbytes(rng.choice(sizes))
                records[key] = value
                transaction.put(key, value)
        with database.begin(write=True) as transaction:
            for key in rng.sample(sorted(records), deleted):
                transaction.delete(key)
                del records[key]
    return records


@pytest.mark.parametrize("sizes", [[0, 1, 20], [20, 300, 3000], [2020, 2030, 2040, 10_000]])
@pytest.mark.parametrize("deleted", [0, 150, 300])
def test_a_database_is_what_the_library_wrote(sizes, deleted):
    records = write_random_lmdb(sizes, deleted)
    database = Database(Path("db/data.mdb"))
    assert [database[i] for i in range(len(database))] == sorted(records.items())


def test_no_damage_to_a_database_gives_anything_but_an_error_or_records():
    """The library ends with SIGBUS or SIGABRT for many of these."""
    write_random_lmdb([20, 300, 3000])
    file = Path("db/data.mdb")
    whole, page, rng = file.read_bytes(), 4096, random.Random(1)
    pages = len(whole) // page
    cases = [whole[: k * page] for k in range(pages)] + [whole[: rng.randrange(len(whole))] for _ in range(60)]
    for _ in range(400):
        damaged = bytearray(whole)
        if rng.random() < 0.3:
            here, there = rng.randrange(pages) * page, rng.randrange(pages) * page
            damaged[here : here + page] = whole[there : there + page]
        else:
            at = rng.choice([rng.randrange(pages) * page + rng.randrange(60), rng.randrange(len(whole) - 8)])
            number = rng.choice([0, 1, 255, 65535, 2**31, 2**63, 2**64 - 1, rng.randrange(2**64)])
            length = rng.choice([1, 2, 4, 8])
            damaged[at : at + length] = (number % 256**length).to_bytes(length, "little")
        cases.append(bytes(damaged))
    refusals = 0
    for case in cases:
        file.write_bytes(case)
        try:
            database = Database(file)
            for i in range(0, len(database), 10):
                database[i]
        except ValueError:
            refusals += 1
    assert refusals > pages + 60


def test_a_record_that_vanishes_while_it_is_in_use():
    datum = b"\x08\x01\x10\x01\x18\x02\x22\x02ab\x28\x01"
    with lmdb.open("db", map_size=1 << 20) as database, database.begin(write=True) as transaction:
        for i in range(9):
            transaction.put(b"%04d\x1b" % i, datum)
    net = first_batch("Data", source="db", batch_size=3)
    with open("db/data.mdb", "r+b") as file:
        file.truncate(8192)
    refused("of db cannot be read: it was changed while it was in use", net.forward)
    refused(
        "db cannot be read as LMDB: it is truncated or damaged", lambda: first_batch("Data", source="db", batch_size=3)
    )


# HDF5


def hdf5(make, **params):
    Path("a.h5").unlink(missing_ok=True)
    with h5py.File("a.h5", "w") as file:
        make(file)
    return reader_of("a.h5")["hdf5"]


def test_links_of_an_hdf5_file():
    with h5py.File("other.h5", "w") as file:
        file["data"] = file["label"] = np.zeros(3)

    def dangling(file):
        file["label"], file["data"] = np.zeros(3), h5py.SoftLink("/nowhere")

    def round_and_round(file):
        file["label"], file["data"] = np.zeros(3), h5py.SoftLink("/label2")
        file["label2"] = h5py.SoftLink("/data")

    def outside(file):
        file["label"], file["data"] = np.zeros(3), h5py.SoftLink("/there")
        file["there"] = h5py.ExternalLink("other.h5", "/data")

    def pieces(file):
        layout = h5py.VirtualLayout((3,), "f4")
        layout[:] = h5py.VirtualSource("other.h5", "data", (3,))
        file["label"] = np.zeros(3)
        file.create_virtual_dataset("data", layout)

    def elsewhere(file):
        file["label"] = np.zeros(3)
        file.create_dataset("data", (3,), "f4", external=[("/dev/zero", 0, 12)])

    for make in (dangling, round_and_round):
        refused("a.h5 has no dataset `data` for that top", hdf5(make))
    refused("a.h5: `data` is a link to another file, which is not read", hdf5(outside))
    for make in (pieces, elsewhere):
        refused("a.h5: `data` lies in other files, which are not read", hdf5(make))

    def inside(file):
        file["group/values"], file["label"] = np.arange(3.0), np.zeros(3)
        file["data"] = h5py.SoftLink("group/values")

    assert hdf5(inside)().blobs["data"].data.tolist() == [0]


def test_datasets_that_say_more_than_the_file_holds():
    def rows(file):
        file["label"] = np.zeros(3)
        file.create_dataset("data", (10**12, 3), "f4", chunks=(10, 3))

    def chunk(file):
        file["label"] = np.zeros(3)
        file.create_dataset("data", (3, 40_000_000), "u1", chunks=(3, 40_000_000), compression="gzip")[:] = 1

    for make in (rows, chunk):
        refused("a.h5: `data` is damaged", hdf5(make))


def test_a_list_of_more_files_than_may_be_open():
    names = [f"{i}.h5" for i in range(120)]
    for i, name in enumerate(names):
        with h5py.File(name, "w") as file:
            file["data"], file["label"] = np.full(1, i), np.full(1, i)
    Path("all.txt").write_text("\n".join(names))
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100 + len(os.listdir("/proc/self/fd")), before[1]))
    try:
        net = first_batch("HDF5Data", source="all.txt", batch_size=120)
        assert net.blobs["data"].data.tolist() == list(range(120))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
