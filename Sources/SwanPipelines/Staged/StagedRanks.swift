import SwanCheckpoints
package import SwanDistributed
package import SwanSystem
import Torch

/// The ranks that run a file's stream together, and how they divide it.
package struct StagedRanks: Sendable {
    /// The ranks.
    let world: World
    /// What each does.
    let options: StagedOptions
    let roles: StagedRoles

    /// Divides a stream among ranks.
    ///
    /// - Throws: `invalidRequest` if there are too few.
    package init(_ world: World, _ options: StagedOptions) throws(SwanError) {
        (self.world, self.options) = (world, options)
        roles = try StagedRoles(options, size: world.size)
    }

    /// The name of this rank's device.
    func device(named name: String) throws(SwanError) -> String {
        "\(try world.launch.device(named: name))"
    }

    /// Gives the size of the stream, which rank 0 knows from its input, to all ranks.
    private func agree(
        on options: StreamOptions,
        _ group: ProcessGroup
    ) throws(SwanError) -> StreamOptions {
        let sizes = try Tensor(
            [
                options.height, options.width, options.outputHeight ?? 0,
                options.outputWidth ?? 0,
            ],
            [4]
        )
        try group.broadcast(sizes, from: 0)
        let agreed: [Int] = try sizes.array()
        var options = options
        (options.height, options.width) = (agreed[0], agreed[1])
        options.outputHeight = agreed[2] > 0 ? agreed[2] : nil
        options.outputWidth = agreed[3] > 0 ? agreed[3] : nil
        return options
    }

    /// Loads this rank's part of a model and joins the others.
    func join(_ plan: StreamPlan) throws -> (stream: StagedStream, parts: StagedParts) {
        let patient = try StagedGroups.makePatient(world)
        let options = try agree(on: plan.options, patient)
        let configs = plan.checkpoint.configs
        let stream = try StagedStream(
            StagedGroups(world, patient: patient),
            roles,
            self.options,
            StagedSizes(
                config: configs.transformer,
                strides: (configs.spatialStride, configs.temporalStride),
                dtype: plan.dtype,
                device: plan.device
            ),
            options
        )
        let parts = try StagedParts(
            plan.checkpoint,
            roles,
            self.options,
            rank: world.rank,
            plan.dtype,
            plan.device
        )
        return (stream, parts)
    }
}

extension FileStream {
    /// Runs the part of a stream that a rank other than 0 has. It reads no input and writes nothing.
    package static func serve(
        _ request: FileStreamRequest,
        _ ranks: StagedRanks
    ) throws {
        var request = request
        request.device = try ranks.device(named: request.device)
        let draft = try request.draft()
        let plan = StreamPlan(
            checkpoint: draft.checkpoint,
            options: draft.options,
            device: draft.device,
            dtype: draft.dtype,
            notes: []
        )
        let (stream, parts) = try ranks.join(plan)
        try stream.serve(parts)
    }
}
