import ArgumentParser
import Logging
import SwanCheckpoints
import SwanDistributed
import SwanPipelines
import SwanSystem
import Synchronization
import Torch

/// `swan serve` as one of several ranks.
extension ServeCommand {
    /// Throws for options that are for one process.
    func requireOptionsOfRanks() throws {
        let given = [
            ("--devices", devices != nil, "give each rank a device with --device"),
            ("--engine", engine != .model, "leave it out"),
            (
                "--jobs", jobOptions.jobs != nil && jobOptions.jobs != "none",
                "start another server for jobs"
            ),
            ("--video-model", jobOptions.videoModel != nil, "start another server for jobs"),
        ].first { $0.1 }
        if let given {
            throw ValidationError("\(given.0) is for one process, not for ranks; \(given.2)")
        }
    }

    /// Joins the ranks and loads this one's part of the model.
    func join(_ ranks: StagedRanks) throws -> StagedSessions {
        let checkpoint = try loading.checkpoint()
        let device = try ranks.world.launch.device(named: loading.device.name)
        let dtype = loading.dtype.dtype ?? checkpoint.configuration.computeType(on: device)
        return try StagedSessions(ranks, checkpoint, dtype, device)
    }

    /// Takes part in the sessions of the server on rank 0, until that ends.
    ///
    /// Whichever rank gets a signal, rank 0 ends the sessions, and the others end with it.
    func serveRank(_ ranks: StagedRanks) throws {
        let isServing = Mutex(false)
        // Rank 0 reads a certificate again.
        let ignore: @Sendable () -> Void = {}
        let hasCertificate = tls?.contains(",") ?? false
        let signals = try StopSignals(
            // While the model is loaded, there is nothing to wait for.
            stop: { isServing.withLock { $0 } && ranks.world.asksToStop() },
            reload: hasCertificate ? ignore : nil,
            abandon: {}
        )
        Engine.sleepWhileWaiting()
        let sessions = try join(ranks)
        isServing.withLock { $0 = true }
        try withExtendedLifetime(signals) { try sessions.serve() }
    }
}
