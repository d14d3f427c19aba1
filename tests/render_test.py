"""The cameras: what is somewhere on the table is seen where it is, as what it is."""

import dataclasses
import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from aloe_jax.envs import render
from aloe_jax.envs import scene
from aloe_jax.envs import tabletop
from aloe_jax.envs import tasks

SIZE = 64
RENDER = jax.jit(functools.partial(render.render, size=SIZE))


RESET = jax.jit(lambda sim, key: sim.reset(key), static_argnums=0)


def fresh(name, seed=0):
  return RESET(tabletop.Simulator(tasks.TASKS[name]), jax.random.key(seed))


def images(state):
  return {name: np.asarray(image, np.int32) for name, image in RENDER(state).items()}


def project(camera, point):
  """(row, column) of the pixel that shows a point in space."""
  way = np.asarray(point) - np.asarray(camera.position)
  right, up = np.asarray(camera.right), np.asarray(camera.up)
  depth = way @ np.cross(up, right)
  column = (way @ right / depth / float(camera.zoom) + 1) / 2 * SIZE
  row = (1 - way @ up / depth / float(camera.zoom)) / 2 * SIZE
  return int(row), int(column)


def bright(hue):
  """RGB in 0..255 of the top of a product."""
  return 255 * np.minimum(1.3 * np.asarray(scene.color(jnp.float32(hue))), 1.0)


class HeadTest(parameterized.TestCase):
  @parameterized.parameters((0.35, 0.1, 0.0), (-0.2, -0.05, 0.33), (0.05, 0.15, 0.55))
  def test_a_product_is_seen_in_its_colour_where_it_lies(self, x, y, hue):
    state = fresh('sort_products')
    state = dataclasses.replace(
      state,
      item=state.item.at[1].set(jnp.float32([x, y, 0.3])),
      hue=state.hue.at[1].set(hue),
    )
    row, column = project(render.head_camera(), [x, y, scene.THICKNESS['belt']])
    np.testing.assert_allclose(images(state)['head'][row, column], bright(hue), atol=2)

  def test_the_middle_of_the_image_is_where_the_camera_looks(self):
    self.assertEqual(project(render.head_camera(), render.HEAD_LOOKS_AT), (SIZE // 2, SIZE // 2))

  @parameterized.parameters(0, 1)
  def test_a_gripper_is_seen_in_its_arms_colour_and_higher_up_when_raised(self, arm):
    rows = []
    for height in (0.02, 0.28):
      state = fresh('sort_products')
      state = dataclasses.replace(
        state, position=state.position.at[:, 2].set(height), hue=jnp.full(6, 0.33)
      )
      palm = 255 * np.float32(scene.ARM[arm])
      distance = np.abs(images(state)['head'] - palm).max(-1)
      self.assertLess(distance.min(), 40)
      rows.append(np.argwhere(distance < 60).mean(0)[0])
    self.assertLess(rows[1], rows[0] - 3)

  def test_the_phones_box_turns_with_its_target(self):
    state = fresh('pack_phone')
    state = dataclasses.replace(state, target=jnp.zeros((5, 3)))
    turned = dataclasses.replace(state, target=state.target.at[:, 2].set(0.8))
    corner = project(render.head_camera(), [0.064, 0.104, scene.BOX_HEIGHT])
    beside = project(render.head_camera(), [0.25, 0.0, 0.0])
    straight, turned = images(state)['head'], images(turned)['head']
    self.assertGreater(np.abs(straight[corner] - turned[corner]).max(), 20)
    np.testing.assert_array_equal(straight[beside], turned[beside])

  def test_a_hem_brought_up_uncovers_the_table_where_it_lay(self):
    state = fresh('fold_laundry')
    folded = dataclasses.replace(state, item=state.item.at[4:].set(state.target[4:]))
    row, column = project(render.head_camera(), [0.0, -0.22, 0.0])
    cloth = 255 * np.asarray(scene.color(state.hue[0], 0.55, 0.95))
    np.testing.assert_allclose(images(state)['head'][row, column], cloth, atol=2)
    table = 255 * np.float32(scene.TABLE)
    np.testing.assert_allclose(images(folded)['head'][row, column], table, atol=2)


class WristTest(parameterized.TestCase):
  def over_product(self, height=0.14, yaw=0.0, gripper=1.0, shift=(0.0, 0.0), tilt=0.0):
    """The left gripper near product 0 that lies alone at (-0.3, 0.05)."""
    state = fresh('sort_products')
    return dataclasses.replace(
      state,
      position=state.position.at[0].set(jnp.float32([-0.3, 0.05, height])),
      yaw=state.yaw.at[0].set(yaw),
      tilt=state.tilt.at[0].set(tilt),
      gripper=state.gripper.at[0].set(gripper),
      item=state.item.at[0].set(jnp.float32([-0.3 + shift[0], 0.05 + shift[1], 0.0])),
      hue=jnp.full(6, 0.33),
    )

  def where_item(self, state):
    """[n, 2] rows and columns of the pixels of the left wrist that show the product's top."""
    return np.argwhere(np.abs(images(state)['left_wrist'] - bright(0.33)).max(-1) < 3)

  def test_what_lies_to_the_side_is_seen_to_the_side_and_turns_with_the_gripper(self):
    middle = (SIZE - 1) / 2
    row, column = self.where_item(self.over_product(shift=(0.12, 0.0))).mean(0)
    self.assertGreater(column, middle + 10)
    np.testing.assert_allclose(row, middle, atol=1.5)
    row, column = self.where_item(self.over_product(shift=(0.12, 0.0), yaw=np.pi / 2)).mean(0)
    self.assertGreater(row, middle + 10)
    np.testing.assert_allclose(column, middle, atol=1.5)

  def test_what_is_near_is_seen_larger(self):
    far, near = (
      len(self.where_item(self.over_product(height=height, shift=(0.0, 0.1))))
      for height in (0.2, 0.1)
    )
    ratio = ((0.2 + 0.2 - 0.04) / (0.2 + 0.1 - 0.04)) ** 2
    np.testing.assert_allclose(near / far, ratio, rtol=0.25)

  def test_an_open_gripper_shows_its_fingers_apart_and_a_closed_one_together(self):
    blue = 255 * np.float32(scene.ARM[0])
    apart = []
    for gripper in (0.0, 1.0):
      image = images(self.over_product(gripper=gripper))['left_wrist']
      columns = np.argwhere(np.abs(image - blue).max(-1) < 30)[:, 1]
      apart.append(columns.max() - columns.min())
    self.assertGreater(apart[1], apart[0] + 10)

  def test_a_tilted_gripper_looks_different_from_an_upright_one(self):
    safe, careless = (images(self.over_product(tilt=tilt))['left_wrist'] for tilt in (0.6, -0.4))
    self.assertGreater((np.abs(safe - careless).max(-1) > 50).sum(), 20)

  def test_one_wrist_does_not_see_the_other_arm_far_away(self):
    state = self.over_product()
    moved = dataclasses.replace(state, gripper=state.gripper.at[1].set(0.0))
    before, after = images(state), images(moved)
    np.testing.assert_array_equal(before['left_wrist'], after['left_wrist'])
    self.assertGreater(np.abs(before['right_wrist'] - after['right_wrist']).max(), 50)


class BatchTest(absltest.TestCase):
  def test_vmap_is_the_loop(self):
    sim = tabletop.Simulator(tasks.TASKS['pack_phone'])
    states = jax.vmap(sim.reset)(jax.random.split(jax.random.key(0), 3))
    together = jax.jit(jax.vmap(functools.partial(render.render, size=SIZE)))(states)
    self.assertEqual(tuple(together), ('head', 'left_wrist', 'right_wrist'))
    for i in range(3):
      alone = RENDER(jax.tree.map(lambda leaf, i=i: leaf[i], states))
      for name, image in alone.items():
        self.assertEqual((image.shape, image.dtype), ((SIZE, SIZE, 3), jnp.uint8))
        np.testing.assert_allclose(
          np.asarray(together[name][i], np.int32), np.asarray(image, np.int32), atol=1
        )

  def test_hues_are_the_colours_people_call_them(self):
    for hue, name in ((0.0, 'red'), (1 / 3, 'green'), (2 / 3, 'blue')):
      rgb = np.asarray(scene.color(jnp.float32(hue), saturation=1.0, value=1.0))
      expected = np.eye(3)[('red', 'green', 'blue').index(name)]
      np.testing.assert_allclose(rgb, expected, atol=1e-5, err_msg=name)


if __name__ == '__main__':
  absltest.main()
