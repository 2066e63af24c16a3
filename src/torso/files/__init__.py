"""The one room that changes disks: ``staging`` publishes by one rename, ``growing`` keeps what is not whole yet,
``hashing`` reads files and says what they hold, ``locking`` saves two processes the same work.

What stood at a place before stays until something whole takes it, and a failure leaves it untouched.
"""

from torso.files.atomic import (
    make_folder,
    refuse_existing,
    refuse_existing_file,
    remove_leftovers,
    scratch_directory,
    set_aside,
    staged_directory,
    staged_file,
)
from torso.files.disk_errors import disk_error, for_a_moment, no_temporary_file, require_space, require_writable
from torso.files.file_lock import locked
from torso.files.hashing import Identity, copy_file, hash_of, hash_of_open, hash_of_same, identity_of, open_file
from torso.files.part_file import Part

__all__ = [
    "Identity",
    "Part",
    "copy_file",
    "disk_error",
    "for_a_moment",
    "hash_of",
    "hash_of_open",
    "hash_of_same",
    "identity_of",
    "locked",
    "make_folder",
    "no_temporary_file",
    "open_file",
    "refuse_existing",
    "refuse_existing_file",
    "remove_leftovers",
    "require_space",
    "require_writable",
    "scratch_directory",
    "set_aside",
    "staged_directory",
    "staged_file",
]
