"""A flow with a wide foreach, whose tasks leave artifacts."""
from metaflow import FlowSpec, Parameter, step


class WideFlow(FlowSpec):
    width = Parameter("width", default=8, type=int)

    @step
    def start(self):
        self.items = list(range(self.width))
        self.next(self.square, foreach="items")

    @step
    def square(self):
        self.squared = self.input**2
        self.next(self.collect)

    @step
    def collect(self, inputs):
        self.squares = sorted(each.squared for each in inputs)
        self.next(self.end)

    @step
    def end(self):
        self.done = True


if __name__ == "__main__":
    WideFlow()
