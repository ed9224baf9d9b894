"""Accounting of all jobs, which ends the benchmark if a job is lost or duplicated."""


class JobAccountingError(Exception):
    """Raised if the master lost a job, leased it twice, or accepted its result twice."""


class JobAccounting:
    """The ids of the jobs that were submitted, handed out and finished."""

    def __init__(self) -> None:
        """Create an accounting that does not contain any jobs."""
        self._submitted: set[str] = set()
        self._handed: set[str] = set()
        self._finished: set[str] = set()

    def submitted(self, job_id: str) -> None:
        """Record a job whose submission the master acknowledged."""
        if job_id in self._submitted:
            raise JobAccountingError(f"two submissions became the same job {job_id}")
        self._submitted.add(job_id)

    def handed_out(self, job_id: str, attempt: int) -> None:
        """Record a job that an agent received."""
        if job_id in self._handed or attempt != 1:
            raise JobAccountingError(f"job {job_id} was handed out again, attempt {attempt}")
        self._handed.add(job_id)

    def finished(self, job_id: str, *, state: str, repeated: bool) -> None:
        """Record a job whose result the master acknowledged."""
        if job_id in self._finished or repeated or state != "succeeded":
            raise JobAccountingError(f"the result of job {job_id}: {state}, repeated {repeated}")
        self._finished.add(job_id)

    @property
    def is_settled(self) -> bool:
        """Return whether every submitted job is finished."""
        return len(self._finished) == len(self._submitted)

    @property
    def counts(self) -> tuple[int, int, int]:
        """The numbers of jobs that were submitted, handed out and finished."""
        return len(self._submitted), len(self._handed), len(self._finished)

    def check_settled(self) -> None:
        """Raise JobAccountingError unless each submitted job was handed out and finished once."""
        if not self._submitted == self._handed == self._finished:
            lost = len(self._submitted - self._finished)
            unknown = len(self._handed - self._submitted)
            raise JobAccountingError(f"{lost} jobs were lost, {unknown} were never submitted")
