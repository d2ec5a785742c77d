"""Reads back with the Client API everything that the wide flow left. Arguments: run, width."""
import sys

from metaflow import Flow, Run, Step, namespace

number, width = sys.argv[1], int(sys.argv[2])
namespace(None)
squares = [item**2 for item in range(width)]

run = Run(f"WideFlow/{number}")
assert run.successful and run.finished and run.data.done, run
assert Flow("WideFlow").latest_successful_run.id == number
assert run.data.squares == squares, run.data.squares
assert {each.id for each in run} == {"start", "square", "collect", "end"}, list(run)
tasks = list(Step(f"WideFlow/{number}/square"))
assert sorted(task.data.squared for task in tasks) == squares, tasks
assert sorted(task.index for task in tasks) == list(range(width)), tasks
for task in [*tasks, run["start"].task, run["collect"].task, run["end"].task]:
    assert task.successful and task.finished and task.finished_at >= task.created_at, task
    assert task.metadata_dict["attempt_ok"] == "True" and task.metadata_dict["attempt"] == "0", task.metadata_dict
    assert "width" in {artifact.id for artifact in task}, list(task)
for task in tasks:
    assert {"items", "squared"} <= {artifact.id for artifact in task}, list(task)
assert len(list(run["collect"].task.parent_tasks)) == width, list(run["collect"].task.parent_tasks)
print("everything is there")
