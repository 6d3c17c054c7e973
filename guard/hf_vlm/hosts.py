"""Where the weights of local models are: in processes of their own, or in this one."""

from dataclasses import dataclass
from typing import Final

from vlmguard.guard.hf_vlm.checkpoint_key import WeightsKey, cuda_devices_here
from vlmguard.guard.hf_vlm.launching import POSSIBLE, cuda_devices, launcher
from vlmguard.guard.hf_vlm.processes import shared_apart
from vlmguard.guard.hf_vlm.vlm import User, Vlm


@dataclass
class Host:
    """Says where weights are loaded.

    Attributes:
        apart: In processes of their own. Windows cannot hand a socket to another process as other
            systems do; there, and in tests of what goes on inside, it is this process.
    """

    apart: bool

    def warm_up(self) -> None:
        """Begin what takes long before the first weights can be loaded."""
        if self.apart:
            launcher()

    def vlm(self, key: WeightsKey, user: User, number: int, replicas: int) -> Vlm:
        """A user of weights, which the caller loads and closes.

        Args:
            key: The weights.
            user: How it uses them.
            number: Number of the replica.
            replicas: How many there are.
        """
        if self.apart:
            # GPUs tell replicas apart already, and then the first is shared with other users.
            copy = number if key.device == "cpu" else 0
            return shared_apart(key, user, copy, replicas)
        from vlmguard.guard.hf_vlm.local import shared_here

        return shared_here(key, user)

    def cuda_devices(self) -> int:
        """How many CUDA devices the models may use."""
        return cuda_devices() if self.apart else cuda_devices_here()


HOST: Final = Host(apart=POSSIBLE)
