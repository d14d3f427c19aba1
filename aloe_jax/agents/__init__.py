"""Learning algorithms: what each one optimises, and on which data."""

from aloe_jax.agents import aloe
from aloe_jax.agents import awr
from aloe_jax.agents import bc
from aloe_jax.agents import dagger
from aloe_jax.agents import filtered_bc
from aloe_jax.agents import recap

_ALL = (aloe.AGENT, awr.AGENT, bc.AGENT, dagger.AGENT, filtered_bc.AGENT, recap.AGENT)
AGENTS = {agent.name: agent for agent in _ALL}
