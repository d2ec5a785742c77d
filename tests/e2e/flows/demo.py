"""A flow with what users' flows have: branch, foreach, join, retry, catch, a failure to resume from, tags."""
import os

from metaflow import FlowSpec, Parameter, catch, current, retry, step


class DemoFlow(FlowSpec):
    width = Parameter("width", default=5, type=int)

    @step
    def start(self):
        self.next(self.fan_out, self.flaky)

    @step
    def fan_out(self):
        self.items = list(range(self.width))
        self.next(self.square, foreach="items")

    @step
    def square(self):
        self.squared = self.input**2
        self.next(self.collect)

    @step
    def collect(self, inputs):
        self.squares = sorted(each.squared for each in inputs)
        self.next(self.merge)

    @retry(times=2, minutes_between_retries=0)
    @step
    def flaky(self):
        self.attempt = current.retry_count
        if current.retry_count == 0:
            raise ValueError("the first attempt fails")
        self.next(self.forgiven)

    @catch(var="caught", print_exception=False)
    @step
    def forgiven(self):
        if self.attempt:
            raise ValueError("this one is caught")
        self.next(self.merge)

    @step
    def merge(self, inputs):
        self.squares = inputs.collect.squares
        self.attempt = inputs.forgiven.attempt
        self.was_caught = bool(inputs.forgiven.caught)
        self.next(self.fragile)

    @step
    def fragile(self):
        if os.environ.get("DEMO_FAILS"):
            raise RuntimeError("told to fail")
        self.next(self.end)

    @step
    def end(self):
        self.done = True


if __name__ == "__main__":
    DemoFlow()
