"""Label Studio over its API: the only module that imports the client.

Decides how the server is asked, how its answers are read, and how its failures are told. A list that is cut short, that holds another
project's tasks, or whose answers lack a field is refused with the place, so that half of it is never taken for all. Leaves what is
asked to `push`, `pull` and `raters`. Reading is repeated by the client when the server is briefly unwell; making something never is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

from counteranimal.annotate.port import ProjectDraft, StudioAnnotation, StudioTask
from counteranimal.annotate.server import PINNED, is_older
from counteranimal.errors import EnvironmentFailure, MissingDependency, UpstreamError

try:
    import httpx
    from label_studio_sdk import LabelStudio
    from label_studio_sdk.core.api_error import ApiError
    from label_studio_sdk.core.parse_error import ParsingError
except ModuleNotFoundError as error:  # pragma: no cover - the extra is part of every development install
    raise MissingDependency(
        "Label Studio's client is not installed; run `pip install 'counteranimal[annotate]'`"
    ) from error

__all__ = ["LabelStudioServer"]

Result = TypeVar("Result")

PAGE = 500
ONCE: Any = {"max_retries": 0}
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class LabelStudioServer:
    """A Label Studio server and a token of one of its accounts; implements `port.Studio`.

    Parameters
    ----------
    url : str
        For example `http://127.0.0.1:8181`.
    token : str
        A personal access token or a legacy one; never logged.
    timeout : float
        Seconds to wait for one answer.
    """

    def __init__(self, url: str, token: str, *, timeout: float = 120.0) -> None:
        self._url = url.rstrip("/")
        # A proxy from the environment must never see loopback traffic, nor its token.
        trust = urlsplit(self._url).hostname not in LOOPBACK
        self._http = httpx.Client(timeout=httpx.Timeout(timeout, connect=5.0), trust_env=trust)
        if not token:
            raise EnvironmentFailure(
                f"no token for Label Studio at {self._url}; start a local server with `counteranimal label-studio up`, "
                "or set COUNTERANIMAL_LABEL_STUDIO_TOKEN"
            )
        self._client = self._ask(
            "log in",
            lambda: LabelStudio(base_url=self._url, api_key=token, httpx_client=self._http),  # type: ignore[no-untyped-call]
        )

    @property
    def url(self) -> str:
        """Where annotators' browsers find the server, without a trailing slash."""
        return self._url

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def version(self) -> str:
        """Return the server's version, for example `1.23.2`."""
        answer = self._ask("tell its version", self._client.versions.get)
        return str(answer.release)

    def require_version(self) -> None:
        """Raise EnvironmentFailure where the server is older than the one whose answers are known."""
        found = self.version()
        if is_older(found):
            raise EnvironmentFailure(
                f"Label Studio at {self._url} is {found}, whose answers may read otherwise; upgrade it to {PINNED} "
                "(`counteranimal label-studio doctor` tells what else is wrong)"
            )

    def account(self) -> str:
        """Return the e-mail of the account whose token is used."""
        found: Any = self._ask("show our account", self._client.users.whoami)
        return str(found.email)

    def invitation(self) -> str:
        """Return the address at which somebody who holds it can make an account."""
        found: Any = self._ask("show the invitation", self._client.organizations.invites.get_invite_link)
        return f"{self._url}{found.invite_url}"

    def serves_local_files(self) -> bool:
        """Say whether the server would hand out files of its machine; it tells only those who are logged in."""
        place = f"{self._url}/data/local-files/"
        headers = self._client._client_wrapper.get_headers()  # noqa: SLF001 - the client has no call for a plain page
        answer = self._ask("say whether it serves local files", lambda: self._http.get(place, headers=headers))
        return not (answer.status_code == 403 and "LOCAL_FILES_SERVING_ENABLED" in answer.text)

    def our_projects(self) -> list[int]:
        """Return the projects of rounds of any workspace."""
        projects: list[Any] = self._ask("list projects", lambda: list(self._client.projects.list(page_size=PAGE)))
        return [int(item.id) for item in projects if str(item.description or "").startswith(_description(""))]

    def attached(self, project_id: int) -> list[str]:
        """Return what is attached to a project that no round wants: `storage s3`, `backend`, ..."""
        kinds = ("azure", "gcs", "local", "redis", "s3")
        places = [(f"storage {kind}", getattr(self._client.import_storage, kind)) for kind in kinds]
        places += [(f"storage for export {kind}", getattr(self._client.export_storage, kind)) for kind in kinds]
        places.append(("backend", self._client.ml))
        return [
            name
            for name, client in places
            if self._ask(f"list what is attached to project {project_id}", lambda: client.list(project=project_id))  # noqa: B023
        ]

    def find_project(self, key: str) -> int | None:
        """Return the id of the project whose description is the key; the lowest, should there be two."""
        projects: list[Any] = self._ask("list projects", lambda: list(self._client.projects.list(page_size=PAGE)))
        return min((int(item.id) for item in projects if item.description == _description(key)), default=None)

    def create_project(self, draft: ProjectDraft) -> int:
        """Make a project and return its id."""
        made: Any = self._ask(
            "make a project",
            lambda: self._client.projects.create(
                title=draft.title,
                description=_description(draft.key),
                label_config=draft.xml,
                expert_instruction=draft.instruction,
                show_instruction=True,
                show_skip_button=True,
                enable_empty_annotation=False,
                maximum_annotations=1,
                sampling="Sequential sampling",
                show_collab_predictions=True,
                request_options=ONCE,
            ),
        )
        return int(made.id)

    def page_of(self, project_id: int) -> str:
        """Return the labelling page (XML) that a project shows now."""
        found: Any = self._ask(f"show project {project_id}", lambda: self._client.projects.get(id=project_id))
        return str(found.label_config)

    def tasks(self, project_id: int, *, answers: bool = True) -> Iterator[StudioTask]:
        """Yield all tasks of a project, page by page; without `answers` their annotations are neither asked for nor given.

        Raises
        ------
        UpstreamError
            With the place, where the list ends before its stated number, holds another project's task, or an answer lacks a field.
        """
        # The client takes any 404 for the end of the list, so a deleted project would read as an empty one.
        self.page_of(project_id)
        fields = "all" if answers else "task_only"
        what = f"list the tasks of project {project_id}"
        first: Any = self._ask(
            what,
            lambda: self._client.tasks.list(project=project_id, page_size=PAGE, fields=fields, resolve_uri=False),
        )
        pager: Iterator[Any] = iter(first)
        listed = 0
        while (task := self._ask(what, lambda: next(pager, None))) is not None:
            yield self._task(task, project_id)
            listed += 1
        stated = getattr(first.response, "total", None)
        if not isinstance(stated, int) or listed < stated:
            raise UpstreamError(
                f"Label Studio at {self._url} gave {listed} of {stated or 'an unstated number of'} tasks of project {project_id} and "
                "ended; run again to finish"
            )

    def _task(self, task: Any, project_id: int) -> StudioTask:
        where = f"task {getattr(task, 'id', '(no id)')} of project {project_id}"
        try:
            if task.project != project_id:
                raise UpstreamError(f"Label Studio at {self._url} lists {where} though it is of project {task.project}")
            return _task(task)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UpstreamError(
                f"Label Studio at {self._url} words {where} in a way that is not known ({error}); the version that is known is {PINNED}"
            ) from error

    def create_tasks(self, project_id: int, tasks: Sequence[Mapping[str, Any]]) -> list[int]:
        """Make tasks and return their ids in order."""
        wanted: list[Any] = [dict(task) for task in tasks]
        answer: Any = self._ask(
            f"import {len(tasks)} tasks",
            lambda: self._client.projects.import_tasks(
                id=project_id, request=wanted, return_task_ids=True, request_options=ONCE
            ),
        )
        return [int(task_id) for task_id in answer.task_ids or []]

    def change_task(self, task_id: int, data: Mapping[str, Any]) -> None:
        """Replace the data of a task; answers to it stay."""
        self._ask(f"change task {task_id}", lambda: self._client.tasks.update(id=str(task_id), data=dict(data)))

    def delete_task(self, task_id: int) -> bool:
        """Remove a task with its answers; False if the server has none of that id."""
        try:
            self._ask(f"delete task {task_id}", lambda: self._client.tasks.delete(id=str(task_id)))
        except UpstreamError as error:
            if isinstance(error.__cause__, ApiError) and error.__cause__.status_code == 404:
                return False
            raise
        return True

    def annotate(
        self, task_id: int, result: Sequence[Mapping[str, Any]], *, seconds: float, skipped: bool = False
    ) -> int:
        """Submit an answer and return its id."""
        made = self._ask(
            f"take an answer for task {task_id}",
            lambda: self._client.annotations.create(
                id=task_id,
                result=[dict(region) for region in result],
                lead_time=seconds,
                was_cancelled=skipped,
                request_options=ONCE,
            ),
        )
        return int(made.id)

    def _ask(self, what: str, call: Callable[[], Result]) -> Result:
        try:
            return call()
        except httpx.ConnectError as error:
            raise EnvironmentFailure(
                f"Label Studio does not answer at {self._url}; start it with `counteranimal label-studio up` "
                "or correct label_studio_url"
            ) from error
        except httpx.RequestError as error:
            raise UpstreamError(
                f"Label Studio at {self._url} broke off when asked to {what} ({type(error).__name__}); run again to finish"
            ) from error
        except ApiError as error:
            raise _as_failure(self._url, what, error) from error
        except (ParsingError, ValueError) as error:  # no JSON, such as a proxy's page
            raise UpstreamError(
                f"what answers at {self._url} is no Label Studio when asked to {what}; correct label_studio_url, or run again to finish"
            ) from error


def _description(key: str) -> str:
    return f"counteranimal {key}"


def _as_failure(url: str, what: str, error: ApiError) -> EnvironmentFailure:
    if error.status_code in {401, 403}:
        return EnvironmentFailure(
            f"Label Studio at {url} refuses the token when asked to {what}; set COUNTERANIMAL_LABEL_STUDIO_TOKEN to a valid one"
        )
    if error.status_code == 404:
        return UpstreamError(f"Label Studio at {url} does not have what it was asked to {what}; was it deleted there?")
    said = " ".join(str(error.body).split())[:200]
    return UpstreamError(
        f"Label Studio at {url} answered {error.status_code} when asked to {what} ({said}); run again to finish"
    )


def _task(task: Any) -> StudioTask:
    answers = [_annotation(item, draft=False) for item in _listed(task.annotations)]
    drafts = [_annotation(item, draft=True) for item in _listed(task.drafts)]
    return StudioTask(int(task.id), dict(task.data), tuple(sorted(answers + drafts, key=lambda item: item.created_at)))


def _listed(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        return []
    return [item if isinstance(item, dict) else item.dict() for item in value]


def _annotation(item: Mapping[str, Any], *, draft: bool) -> StudioAnnotation:
    author = item.get("user") if draft else item["completed_by"]  # null once the account was deleted
    if isinstance(author, Mapping):
        author = author.get("id")
    created = _moment(item["created_at"])
    return StudioAnnotation(
        annotation_id=int(item["id"]),
        author=author if isinstance(author, int) else None,
        result=[dict(region) for region in item.get("result") or []],
        seconds=float(item["lead_time"]) if item.get("lead_time") is not None else None,
        created_at=created,
        updated_at=_moment(item["updated_at"]) if item.get("updated_at") else created,
        skipped=bool(item.get("was_cancelled")),
        draft=draft,
    )


def _moment(value: Any) -> datetime:
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return moment.astimezone(UTC)
