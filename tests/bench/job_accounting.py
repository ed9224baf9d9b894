"""What became of every job: a job that is lost or handed out twice ends the benchmark."""


class BrokenPromiseError(Exception):
    """The master lost a job, or handed it out or took its result twice."""


class JobAccounting:
    """The jobs that were acknowledged, handed out and finished, by id."""

    def __init__(self) -> None:
        """Begin with no jobs."""
        self._submitted: set[str] = set()
        self._handed: set[str] = set()
        self._finished: set[str] = set()

    def submitted(self, job_id: str) -> None:
        """Note that the master acknowledged a job."""
        if job_id in self._submitted:
            raise BrokenPromiseError(f"two submissions became the one job {job_id}")
        self._submitted.add(job_id)

    def handed_out(self, job_id: str, attempt: int) -> None:
        """Note that an agent was given a job."""
        if job_id in self._handed or attempt != 1:
            raise BrokenPromiseError(f"job {job_id} was handed out again, attempt {attempt}")
        self._handed.add(job_id)

    def finished(self, job_id: str, *, state: str, repeated: bool) -> None:
        """Note that the master has a job's result."""
        if job_id in self._finished or repeated or state != "succeeded":
            raise BrokenPromiseError(f"the result of job {job_id}: {state}, repeated {repeated}")
        self._finished.add(job_id)

    @property
    def is_settled(self) -> bool:
        """Whether every job that was submitted is finished."""
        return len(self._finished) == len(self._submitted)

    @property
    def counts(self) -> tuple[int, int, int]:
        """How many jobs were submitted, handed out and finished."""
        return len(self._submitted), len(self._handed), len(self._finished)

    def check_settled(self) -> None:
        """Raise BrokenPromiseError unless each submitted job was handed out and finished once."""
        if not self._submitted == self._handed == self._finished:
            lost = len(self._submitted - self._finished)
            strange = len(self._handed - self._submitted)
            raise BrokenPromiseError(f"{lost} jobs were lost, {strange} came from nowhere")
