"""The model in Keras 3, for any backend: ``LSTM``, ``Bidirectional`` and ``Concatenate``, joined by the functional API.

Keras is batch-first, and these models are time-major at their doors: they turn ``x`` and ``y`` as they come in and the
hidden states as they go out. That is a view in PyTorch; in JAX it is compiled with the model, whose loop over time
turns them back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
from keras import ops

from impls.contract import LSTMOutput, States

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float
    from keras import KerasTensor


class AtEveryStep(keras.layers.Layer):
    """A representation, once for every step of a sequence."""

    def call(self, s: Float[KerasTensor, "B D"], y: Float[KerasTensor, "B T I"]) -> Float[KerasTensor, "B T D"]:
        """``s`` at each step of ``y``."""
        return ops.broadcast_to(ops.expand_dims(s, 1), (*ops.shape(y)[:2], s.shape[-1]))


class Seq2seqLSTM:
    """Sequence-to-sequence LSTM: four models over the same layers.

    Attributes:
        encoder: ``[x (T_x, B, E)]`` to ``output (T_x, B, D)``, ``h_n`` and ``c_n (L x directions, B, H)``.
        decoder: ``[y (T_y, B, E), h_0 (B, D)]`` to ``output (T_y, B, D)``, ``h_n`` and ``c_n (L, B, D)``.
        whole: ``[x, y]`` to the decoder's outputs ``(T_y, B, D)``.
        states: ``[x, y]`` to every layer's hidden states, ``(L, T_x, B, D)`` and ``(L, T_y, B, D)``.
    """

    def __init__(
        self,
        embedding_dim: int,
        hidden_dim: int,
        num_encoder_layers: int,
        num_decoder_layers: int,
        bidirectional: bool,
        context: str = "initial",
    ) -> None:
        self.num_directions = 2 if bidirectional else 1
        self.every_step = context == "every_step"
        width = self.num_directions * hidden_dim

        # on a GPU it trained wrongly: JAX may hand cuDNN arrays in another order than it says (impls/jax/cudnn.py)
        use_cudnn = False if keras.backend.backend() == "jax" else "auto"

        def lstm(units: int) -> keras.layers.LSTM:
            return keras.layers.LSTM(units, return_sequences=True, return_state=True, use_cudnn=use_cudnn)

        def encoder_layer() -> keras.layers.Layer:
            return keras.layers.Bidirectional(lstm(hidden_dim)) if bidirectional else lstm(hidden_dim)

        self.encoder_layers = [encoder_layer() for _ in range(num_encoder_layers)]
        self.decoder_layers = [lstm(width) for _ in range(num_decoder_layers)]
        self.hand_off_layer = keras.layers.Concatenate()

        # time-major, as they come: what Keras takes for the batch is the first axis, whose size it does not ask for
        x = keras.Input((None, embedding_dim), name="x")
        y = keras.Input((None, embedding_dim), name="y")
        h_0 = keras.Input((width,), name="h_0")
        encoder_states, h_n, c_n = self.encoder_states(x)
        decoder_states, _, _ = self.decoder_states(y, self.hand_off(h_n))
        self.encoder = keras.Model([x], LSTMOutput(encoder_states[-1], ops.stack(h_n), ops.stack(c_n)))
        self.whole = keras.Model([x, y], decoder_states[-1])
        self.states = keras.Model([x, y], States(ops.stack(encoder_states), ops.stack(decoder_states)))
        decoder_states, h_n, c_n = self.decoder_states(y, h_0)
        self.decoder = keras.Model([y, h_0], LSTMOutput(decoder_states[-1], ops.stack(h_n), ops.stack(c_n)))

    def encoder_states(
        self, x: Float[KerasTensor, "T_x B E"]
    ) -> tuple[list[Float[KerasTensor, "T_x B D"]], list[KerasTensor], list[KerasTensor]]:
        """Every layer's hidden states, and of each layer and direction the final ``h`` and ``c``, from zero."""
        x = ops.swapaxes(x, 0, 1)
        states, h_n, c_n = [], [], []
        for layer in self.encoder_layers:
            x, *final = layer(x)  # h and c, of both directions in turn
            states.append(ops.swapaxes(x, 0, 1))
            h_n.extend(final[0::2])
            c_n.extend(final[1::2])
        return states, h_n, c_n

    def hand_off(self, h_n: Sequence[Float[KerasTensor, "B H"]]) -> Float[KerasTensor, "B D"]:
        """The last layer's final hidden states, forward then reverse, joined."""
        return self.hand_off_layer([*h_n[-self.num_directions :]])

    def decoder_states(
        self, y: Float[KerasTensor, "T_y B E"], h_0: Float[KerasTensor, "B D"]
    ) -> tuple[list[Float[KerasTensor, "T_y B D"]], list[KerasTensor], list[KerasTensor]]:
        """Every layer's hidden states, and its final ``h`` and ``c``, started from ``h_0`` and from zero."""
        y = ops.swapaxes(y, 0, 1)
        initial = [h_0, ops.zeros_like(h_0)]
        states, h_n, c_n = [], [], []
        for layer in self.decoder_layers:
            if self.every_step:
                y = keras.layers.Concatenate()([y, AtEveryStep()(h_0, y)])
            y, h, c = layer(y, initial_state=initial)
            states.append(ops.swapaxes(y, 0, 1))
            h_n.append(h)
            c_n.append(c)
        return states, h_n, c_n
