"""Defines what rides on vLLM's own objects between the engine core and its workers, so that no further
message is needed."""

PLAN = "indexcache_plan"
"""Attribute of SchedulerOutput: what the step does, an engine.StepPlan; absent where it does nothing but run
all Full."""
MEASURED = "indexcache_measured"
"""Attribute of ModelRunnerOutput: what the step measured, an engine.Measured; absent where nothing was."""
FAILED = "indexcache_failed"
"""Attribute of ModelRunnerOutput: what failed in the worker, a text; absent where nothing did. All steps
after it run all Full."""

ATTACH = "indexcache_attach"
"""Method of a worker, by which the engine core has each take charge of its model."""
