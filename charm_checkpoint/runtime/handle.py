"""The base of objects that stand for an open store, and so belong to one process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from charm_checkpoint.errors import NotSerializable

if TYPE_CHECKING:
    from typing_extensions import Self


class Handle:
    """Refuses to be pickled or copied in depth: a password or a lock cannot go along. A shallow copy is another handle.

    So it is told where a worker's arguments are pickled, by multiprocessing, Celery, joblib or Ray.
    """

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise NotSerializable(
            f"a {type(self).__name__} belongs to its process and cannot be pickled or copied: "
            "pass the store's URL instead, and open it in the worker, with open_memory(url)."
        )

    def __copy__(self) -> Self:
        clone = object.__new__(type(self))
        clone.__dict__.update(self.__dict__)
        return clone
