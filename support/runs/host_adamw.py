"""AdamW, with its moments in host memory between steps if a GPU has no room for them."""

import torch


class HostAdamW(torch.optim.AdamW):
    """AdamW whose moments wait in host memory.

    They come to the weights' device one parameter at a time. Steps and checkpoints are the same as
    AdamW's, to the bit. Each step copies 8 bytes a parameter to the device, and back.
    """

    def step(self) -> None:
        for group in self.param_groups:
            parameters = group["params"]
            for parameter in parameters:
                group["params"] = [parameter]  # super's step sees this one alone
                self.move(parameter, parameter.device)
                super().step()
                self.move(parameter, "cpu")
            group["params"] = parameters

    def load_state_dict(self, state_dict: dict) -> None:
        super().load_state_dict(state_dict)
        for parameter in self.state:
            self.move(parameter, "cpu")

    def move(self, parameter: torch.Tensor, device: torch.device | str) -> None:
        """Bring a parameter's moments and count of steps there."""
        state = self.state[parameter]
        for name, value in state.items():
            state[name] = value.to(device)
