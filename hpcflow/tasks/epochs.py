"""The loop over epochs of a MACE training, made so that it can stop anywhere and go on exactly there.

MACE's own loop keeps only the best epoch and goes on from that one: with the noise of another epoch,
without the memory of what was best, and from the start if the file was cut while it was written.
"""

from __future__ import annotations

import copy
import logging
import math
import os
import time
import zipfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from hpcflow.task import Unfinished
from hpcflow.tasks.interruption import Interruption

SAVE_EVERY = 30.0  # seconds; a kill without warning loses at most this much, plus one epoch


class EpochLoop:
    """Takes the place of ``mace.tools.train``, with the same arguments.

    Parameters
    ----------
    path
        The checkpoint: everything the next epoch depends on. Replaced as a whole, never half written.
    seed
        The order of the frames in an epoch depends on this and on the number of the epoch only, so that
        a training in several parts is the same, bit for bit, as one in a single part.
    stop
        Says when to stop; then the checkpoint is written and ``Unfinished`` raised.
    """

    def __init__(self, path: Path, seed: int, stop: Interruption) -> None:
        self.path = path
        self.seed = seed
        self.stop = stop
        self.history: list[dict[str, Any]] = []
        """The validation metrics of each epoch, as MACE computes them."""
        self.best_epoch = -1
        """The epoch whose weights became the model; with stage two, its best one."""

    def __call__(
        self,
        *,
        model: Any,
        loss_fn: Any,
        train_loader: Any,
        valid_loaders: dict[str, Any],
        optimizer: Any,
        lr_scheduler: Any,
        checkpoint_handler: Any,
        max_num_epochs: int,
        patience: int,
        eval_interval: int,
        logger: Any,
        output_args: dict[str, bool],
        device: Any,
        log_errors: str,
        max_grad_norm: float | None,
        swa: Any = None,
        ema: Any = None,
        distributed: bool = False,
        **others: Any,
    ) -> None:
        """Train up to ``max_num_epochs`` and leave the best weights where MACE looks for them."""
        import torch
        from mace.tools.train import evaluate, train_one_epoch, valid_err_log

        if distributed:
            raise ValueError("a training task uses one device; 'distributed' is not supported")
        parts = {"model": model, "optimizer": optimizer, "lr_scheduler": lr_scheduler}
        if ema is not None:
            parts["ema"] = ema
        if swa is not None:
            parts |= {"swa_model": swa.model, "swa_scheduler": swa.scheduler}
        memory = self._read(parts, device)
        averaged = ema.average_parameters if ema is not None else nullcontext
        schedule_free = "ScheduleFree" in type(optimizer).__name__
        saved = time.monotonic()
        longest = 0.0
        while (epoch := memory["epoch"]) < max_num_epochs and not memory["finished"]:
            began = time.monotonic()
            second = swa is not None and epoch >= swa.start
            if second:
                loss_fn = swa.loss_fn
                swa.model.update_parameters(model)
            if memory["loss"] is not None and second:
                swa.scheduler.step()
            elif memory["loss"] is not None:
                lr_scheduler.step(metrics=memory["loss"])
            torch.manual_seed(self.seed + epoch)
            train_loader.generator.manual_seed(self.seed + epoch)
            if schedule_free:
                optimizer.train()
            train_one_epoch(
                model=model,
                loss_fn=loss_fn,
                data_loader=train_loader,
                optimizer=optimizer,
                epoch=epoch,
                output_args=output_args,
                max_grad_norm=max_grad_norm,
                ema=ema,
                logger=_Watched(logger, self.stop, patient=0 < longest < 5.0),
                device=device,
                distributed=False,
            )
            memory["epoch"] = epoch + 1
            if epoch % eval_interval == 0:
                if schedule_free:
                    optimizer.eval()
                with averaged():
                    for name, loader in valid_loaders.items():
                        loss, metrics = evaluate(model, loss_fn, loader, output_args, device)
                        valid_err_log(loss, metrics, logger, log_errors, epoch, name)
                    # As in MACE, the last head decides.
                    idle = self._judge(memory, float(loss), metrics, epoch, second, parts)
                if idle >= patience and swa is not None and not second:
                    memory["epoch"] = swa.start
                elif idle >= patience:
                    memory["finished"] = True

            longest = max(longest, time.monotonic() - began)
            more = memory["epoch"] < max_num_epochs and not memory["finished"]
            # What follows the last epoch costs about as much as an epoch.
            stopping = more and self.stop.due(ahead=2.5 * longest + 10.0)
            if stopping or not more or time.monotonic() - saved > SAVE_EVERY:
                self._write(parts, memory)
                saved = time.monotonic()
            if stopping:
                raise Unfinished(f"stopped after epoch {epoch} of {max_num_epochs}")

        if not memory["best"]:
            raise ValueError("the loss is not a number from the first epoch on: lower the rate (lr)")
        for _, best in sorted(memory["best"].items()):  # stage one before stage two
            self.best_epoch = best["epoch"]
            checkpoint_handler.io.save(best["checkpoint"], epochs=best["epoch"], keep_last=True)

    def _judge(
        self,
        memory: dict[str, Any],
        loss: float,
        metrics: dict[str, Any],
        epoch: int,
        second: bool,
        parts: dict[str, Any],
    ) -> float:
        """Remember the weights if they are the best of their stage; return for how many epochs none were better."""
        numbers = {key: float(value) for key, value in metrics.items() if isinstance(value, (int, float))}
        if not math.isfinite(loss):
            memory["finished"] = True  # no later epoch brings it back
            return 0.0
        memory["loss"] = loss
        memory["history"].append({**numbers, "epoch": epoch, "loss": loss})
        best = memory["best"].get(second)
        if best is None or loss < best["loss"]:
            # What mace.tools.CheckpointHandler would save, for its own loading in the end.
            states = {name: copy.deepcopy(parts[name].state_dict()) for name in ("model", "optimizer", "lr_scheduler")}
            memory["best"][second] = {"loss": loss, "epoch": epoch, "checkpoint": states}
            return 0.0
        return float(epoch - best["epoch"])

    def _read(self, parts: dict[str, Any], device: Any) -> dict[str, Any]:
        import torch

        memory: dict[str, Any] = {"epoch": 0, "loss": None, "finished": False, "best": {}, "history": []}
        # A copy that was cut short is no checkpoint; torch would only say so in riddles.
        if self.path.exists() and zipfile.is_zipfile(self.path):
            checkpoint = torch.load(self.path, map_location=device, weights_only=False)
            for name, part in parts.items():
                part.load_state_dict(checkpoint["parts"][name])
            memory = checkpoint["memory"]
            logging.info("Going on after epoch %d", memory["epoch"] - 1)
        self.history = memory["history"]
        return memory

    def _write(self, parts: dict[str, Any], memory: dict[str, Any]) -> None:
        import torch

        part = self.path.with_suffix(".part")
        state = {name: value.state_dict() for name, value in parts.items()}
        with part.open("wb") as file:
            torch.save({"parts": state, "memory": memory}, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self.path)


class _Watched:
    """MACE's logger, which hears of every batch: leaves a long epoch when a signal asks to stop."""

    def __init__(self, logger: Any, stop: Interruption, patient: bool) -> None:
        self.logger = logger
        self.stop = stop
        self.patient = patient  # the epoch is about to end anyway

    def log(self, metrics: dict[str, Any]) -> None:
        self.logger.log(metrics)
        if self.stop.requested and not self.patient:
            raise Unfinished("stopped within an epoch; goes on from the last checkpoint")
