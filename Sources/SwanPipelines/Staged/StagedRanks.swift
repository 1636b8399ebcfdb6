import SwanCheckpoints
package import SwanDistributed
package import SwanSystem
import Torch

/// The ranks that run a file's stream together, and how they divide it.
package struct StagedRanks: Sendable {
    /// The ranks.
    package let world: World
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

    /// Joins the others, and loads this rank's part of a model meanwhile.
    func join(_ plan: StreamPlan) throws -> (stream: StagedStream, parts: StagedParts) {
        let stream = try join(plan, StagedGroups.makePatient(world))
        return (stream, try load(plan.checkpoint, plan.dtype, plan.device))
    }

    /// Joins the others when rank 0 knows the size of its input, for which they wait in a group.
    ///
    /// - Parameters:
    ///   - patient: The group of `StagedGroups.makePatient`.
    ///   - waiting: The chunks that may wait besides those that the pipeline holds.
    func join(
        _ plan: StreamPlan,
        _ patient: ProcessGroup,
        waiting: Int = 8
    ) throws -> StagedStream {
        let options = try agree(on: plan.options, patient)
        let configs = plan.checkpoint.configs
        return try StagedStream(
            StagedGroups(world, decoders: roles.decoders, patient: patient),
            roles,
            self.options,
            StagedSizes(
                config: configs.transformer,
                strides: (configs.spatialStride, configs.temporalStride),
                dtype: plan.dtype,
                device: plan.device
            ),
            options,
            waiting: waiting
        )
    }

    /// Loads this rank's part of a model.
    func load(
        _ checkpoint: StreamCheckpoint,
        _ dtype: DType,
        _ device: Device
    ) throws -> StagedParts {
        try StagedParts(checkpoint, roles, options, rank: world.rank, dtype, device)
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
        let (stream, parts) = try ranks.join(request.draft().planOfRank)
        try stream.serve(parts)
    }
}

extension StreamDraft {
    /// The plan of a rank that learns the size from rank 0.
    var planOfRank: StreamPlan {
        StreamPlan(
            checkpoint: checkpoint,
            options: options,
            device: device,
            dtype: dtype,
            notes: []
        )
    }
}
