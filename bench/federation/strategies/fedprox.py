"""FedProx (Li et al., Federated Optimization in Heterogeneous Networks, MLSys 2020): the server's part is FedAvg's.

Its equation (2) gives the client the objective F_k(w) + (μ/2) ‖w − w_t‖², w_t being what it was sent; μ comes with the
job, as the option `proximal_mu`. The fleet's float32 programs apply it; boards do not, and racks refuse a μ above 0.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from bench.federation.strategies.fedavg import FedAvg


@dataclass(frozen=True)
class FedProx(FedAvg):
    """`mu` from 0; 0 is FedAvg."""

    mu: float = 0.01

    @property
    def client_options(self) -> Mapping[str, float]:
        """The proximal term."""
        return MappingProxyType({"proximal_mu": self.mu})
