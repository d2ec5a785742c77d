"""Reads back with the Client API what the demo flow left, and changes tags. Arguments: failed run, resumed run, named run."""
import sys

from metaflow import Flow, Metaflow, Run, Step, Task, get_metadata, namespace

failed, resumed, named = sys.argv[1:]
assert get_metadata().startswith("service@"), get_metadata()
namespace(None)
assert "DemoFlow" in [flow.id for flow in Metaflow()], list(Metaflow())

run = Run(f"DemoFlow/{resumed}")
assert run.successful and run.finished and run.data.done
assert run.data.squares == [0, 1, 4, 9, 16], run.data.squares
assert run.data.attempt == 1 and run.data.was_caught
assert not Run(f"DemoFlow/{failed}").successful
assert Flow("DemoFlow").latest_successful_run.id == resumed
steps = {"start", "fan_out", "square", "collect", "flaky", "forgiven", "merge", "fragile", "end"}
assert {each.id for each in run} == steps, list(run)
tasks = list(Step(f"DemoFlow/{failed}/square"))
assert len(tasks) == 5 and sorted(task.data.squared for task in tasks) == [0, 1, 4, 9, 16]
flaky = Step(f"DemoFlow/{failed}/flaky").task
assert flaky.current_attempt == 1 and flaky.metadata_dict["attempt"] == "1", flaky.metadata_dict
assert not Task(flaky.pathspec, attempt=0).successful
assert "the first attempt fails" in Task(flaky.pathspec, attempt=0).stderr

assert "team:ml" in Run(f"DemoFlow/{failed}").user_tags
namespace("team:ml")
assert failed in [each.id for each in Flow("DemoFlow")]
namespace("nobody:here")
try:
    list(Flow("DemoFlow"))
    raise SystemExit("a foreign namespace shows the flow")
except Exception as refused:
    assert "namespace" in str(refused), refused
namespace(None)

run.add_tag("reviewed")
run.replace_tag("reviewed", "approved:yes")
assert "approved:yes" in Run(f"DemoFlow/{resumed}").user_tags
assert "approved:yes" in Run(f"DemoFlow/{resumed}")["end"].task.tags
run.remove_tag("approved:yes")
assert "approved:yes" not in Run(f"DemoFlow/{resumed}").user_tags

by_name = Run(f"DemoFlow/{named}")
assert by_name.id == named and by_name["start"].task.id == "t-start", by_name["start"].task
parent = Run(f"DemoFlow/{failed}")["collect"].task
assert len(list(parent.parent_tasks)) == 5, list(parent.parent_tasks)
print("the client agrees")
